import { GraphiQL } from 'graphiql';
import { useEffect, useState, useSyncExternalStore } from 'react';
import { createRoot } from 'react-dom/client';
import { demoAccounts, type Account } from './accounts';
import { Bar } from './bar';
import { createFetcher } from './fetcher';
import { Filler } from './filler';
import { Session } from './session';
import { storage } from './storage';
import { DEFAULT_TABS, variablesText, type Target } from './tabs';
import { findTarget } from './target';
import './main.css';
import './workers';

const session = new Session();
const fetcher = createFetcher(session);
const defaultTabs = DEFAULT_TABS.map((tab) => ({ query: tab.query, variables: variablesText(tab.initial) }));

function Page() {
  const view = useSyncExternalStore(session.subscribe, session.view);
  const [accounts, setAccounts] = useState<readonly Account[]>([]);
  const target = useTarget(view.generation, view.person?.id);

  useEffect(() => {
    demoAccounts().then(setAccounts, (error: unknown) => session.report(error));
  }, []);

  return (
    <>
      <Bar session={session} view={view} accounts={accounts} />
      <main>
        <GraphiQL
          fetcher={fetcher}
          defaultTabs={defaultTabs}
          storage={storage}
          defaultEditorToolsVisibility="variables"
          shouldPersistHeaders={false}
        >
          <Filler target={target} />
        </GraphiQL>
      </main>
    </>
  );
}

function useTarget(generation: number, personId: string | undefined): Target | null {
  const [target, setTarget] = useState<Target | null>(null);
  useEffect(() => {
    if (personId === undefined) return;
    let current = true;
    findTarget(session).then(
      (found) => {
        if (!current) return;
        setTarget(found);
        if (!found) session.report(new Error('This account sees no instance, so the tabs have nothing to work on.'));
      },
      (error: unknown) => current && session.report(error),
    );
    return () => {
      current = false;
    };
  }, [generation, personId]);
  return target;
}

const root = document.getElementById('root');
if (root) createRoot(root).render(<Page />);
