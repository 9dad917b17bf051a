import { useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { useEffect, useState } from 'react';
import { DEFAULT_TABS, variablesText, type DefaultTab, type Target } from './tabs';

const FILLED = 'keyframe:filled';

// What the page itself wrote into each tab. Text that differs from it is the person's own and stays.
const filled: Record<string, string> = JSON.parse(sessionStorage.getItem(FILLED) ?? '{}') as Record<string, string>;

function untouched(tab: DefaultTab, variables: string): boolean {
  const text = variables.trim(); // GraphiQL's own prettifying adds a line
  return text === '' || text === filled[tab.operationName] || text === variablesText(tab.initial);
}

/** Lives inside GraphiQL and fills the variables of the tab in front, each time it comes to the front or the target changes. */
export function Filler({ target }: { target: Target | null }): null {
  const { changeTab } = useGraphiQLActions();
  const { queryEditor, variableEditor, headerEditor, responseEditor, tabs, activeTabIndex, isFetching } = useGraphiQL(
    ({ queryEditor, variableEditor, headerEditor, responseEditor, tabs, activeTabIndex, isFetching }) => ({
      queryEditor,
      variableEditor,
      headerEditor,
      responseEditor,
      tabs,
      activeTabIndex,
      isFetching,
    }),
  );
  const [shown, setShown] = useState(false);
  const ready = Boolean(queryEditor && variableEditor && headerEditor && responseEditor);
  const front = tabs[activeTabIndex];
  const tab = DEFAULT_TABS.find(({ operationName }) => operationName === front?.operationName);

  useEffect(() => {
    if (!ready) return;
    changeTab(activeTabIndex); // GraphiQL starts its editors without the variables, and without the text of a later tab
    setShown(true);
  }, [ready]);

  useEffect(() => {
    // Runs again after each request, so that a snapshot's name that has just been used gives way to a new one.
    if (!shown || !target || !tab || !variableEditor || isFetching) return;
    const now = variableEditor.getValue();
    if (!untouched(tab, now)) return;
    const next = variablesText(tab.variables(target));
    if (next === now) return;
    filled[tab.operationName] = next;
    sessionStorage.setItem(FILLED, JSON.stringify(filled));
    variableEditor.setValue(next);
  }, [shown, target, front?.id, isFetching]);

  return null;
}
