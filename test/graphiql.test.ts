import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { startTestApp } from './support/app';
import { until } from './support/until';

const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const executablePath = [process.env['KEYFRAME_TEST_CHROMIUM'] ?? '', ...BROWSERS].find((path) => existsSync(path));
const withBrowser = executablePath === undefined ? describe.skip : describe;
if (executablePath === undefined)
  console.warn('SKIPPED: the GraphiQL page is not tested, for no Chromium is installed (see KEYFRAME_TEST_CHROMIUM).');

// The browser may reach this machine and nothing else, and does nothing of its own accord.
const FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
];
const MINUTE = 60_000;

interface Account {
  name: string;
  email: string;
  password: string;
}

withBrowser('the GraphiQL page', () => {
  let app: Awaited<ReturnType<typeof startTestApp>>;
  let browser: Browser;
  let faults: string[];

  beforeAll(async () => {
    const script = join(__dirname, '../scripts/build-graphiql.mjs');
    expect(spawnSync(process.execPath, [script], { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
    app = await startTestApp({ demo: true });
    browser = await chromium.launch({ args: FLAGS, ...(executablePath === undefined ? {} : { executablePath }) });
  }, 2 * MINUTE);

  afterAll(async () => {
    await browser.close();
    await app.stop();
  }, MINUTE);

  // Holds for whatever a test does with the page: no stranger is asked, no rule of the policy is broken, nothing throws.
  beforeEach(() => (faults = []));
  afterEach(async () => {
    await Promise.all(browser.contexts().map((context) => context.close()));
    expect(faults).toEqual([]);
  });

  const note = (page: Page): void => {
    page.on('request', (request) => {
      if (!request.url().startsWith(`${app.url}/`) && !request.url().startsWith('data:'))
        faults.push(`asked a stranger: ${request.url()}`);
    });
    page.on('websocket', (socket) => {
      if (new URL(socket.url()).host !== new URL(app.url).host) faults.push(`asked a stranger: ${socket.url()}`);
    });
    page.on('console', (message) => {
      if (/content security policy|violat/i.test(message.text())) faults.push(message.text());
    });
    page.on('pageerror', (error) => faults.push(error.message));
  };

  const open = async (): Promise<Page> => {
    const context = await browser.newContext({ viewport: { width: 1500, height: 1200 } });
    context.on('page', note);
    const page = await context.newPage();
    await load(page);
    return page;
  };

  const load = async (page: Page): Promise<void> => {
    const response = await page.goto(`${app.url}/graphiql`);
    expect(response?.headers()['content-security-policy']).toContain("script-src 'self'");
    await page.locator('.graphiql-query-editor .view-line').first().waitFor();
  };

  const accounts = async (): Promise<Account[]> => {
    const response = await fetch(`${app.url}/graphiql/accounts.json`);
    return ((await response.json()) as { accounts: Account[] }).accounts;
  };

  /** Asks the API itself, beside the page. */
  const ask = async <Data>(query: string, variables: object, token?: string): Promise<Data> => {
    const response = await fetch(`${app.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) },
      body: JSON.stringify({ query, variables }),
    });
    const result = (await response.json()) as { data?: Data; errors?: unknown };
    if (!result.data) throw new Error(JSON.stringify(result.errors));
    return result.data;
  };

  const tokenOf = async (name: string): Promise<string> => {
    const { email, password } = (await accounts()).find((account) => account.name === name) ?? {};
    const { signIn } = await ask<{ signIn: { accessToken: string } }>(
      'mutation ($email: String!, $password: String!) { signIn(input: { email: $email, password: $password }) { accessToken } }',
      { email, password },
    );
    return signIn.accessToken;
  };

  /** Takes a snapshot of web-1 through the API, and waits until that work is done. */
  const takeSnapshot = async (name: string): Promise<void> => {
    const token = await tokenOf('ops');
    const found = await ask<{ instance: { id: string } }>('{ instance(name: "web-1") { id } }', {}, token);
    await ask(
      'mutation ($instanceId: ID!, $name: String!) { createSnapshot(input: { instanceId: $instanceId, name: $name }) { operation { id } } }',
      { instanceId: found.instance.id, name },
      token,
    );
    await idle(token);
  };

  const idle = (token: string): Promise<boolean> => {
    const query = '{ instance(name: "web-1") { activeOperation { id } } }';
    return until(
      async () => !(await ask<{ instance: { activeOperation: unknown } }>(query, {}, token)).instance.activeOperation,
      20_000,
      'web-1 to be idle',
    );
  };

  test(
    'one click signs a demo account in, and the first tab shows its snapshots as it is',
    async () => {
      await takeSnapshot('seen-by-alice');
      const { viewer } = await ask<{ viewer: { displayName: string } }>(
        '{ viewer { displayName } }',
        {},
        await tokenOf('alice'),
      );
      const page = await open();
      await signInAs(page, 'alice');
      expect(await page.locator('.person').innerText()).toContain(viewer.displayName);
      expect(await page.locator('.person code').innerText()).toBe('USER');

      await run(page);
      await answered(page, '"seen-by-alice"');
      await toTab(page, 'WhatMayIDo');
      await run(page);
      await answered(page, '"viewerPermissions"');
    },
    MINUTE,
  );

  test(
    'an operator takes a snapshot and watches the next one without typing an id',
    async () => {
      const page = await open();
      await signInAs(page, 'ops');
      await toTab(page, 'SnapshotBeforeUpgrade');
      await until(async () => /before-upgrade-\d{8}-\d{6}/.test(await variables(page)), 10_000, 'a fresh name');
      await run(page);
      await answered(page, '"status": "PENDING"');
      expect(await answer(page)).toContain('"userErrors": []');

      await idle(await tokenOf('ops'));
      await toTab(page, 'WatchIt');
      await run(page);
      await answered(page, '"instanceUpdated"');
      await takeSnapshot('seen-while-watching');
      await answered(page, '"seen-while-watching"');
    },
    MINUTE,
  );

  test(
    'signing in as somebody else keeps what was typed, and needs no other change',
    async () => {
      const page = await open();
      await signInAs(page, 'alice');
      await page.locator('section[aria-label="Variables"] .view-line').first().click();
      await page.keyboard.press('ControlOrMeta+a');
      await page.keyboard.insertText('{ "name": "typed-by-hand" }');
      await until(async () => (await variables(page)).includes('typed-by-hand'), 10_000, 'the typed text');

      await signInAs(page, 'ops');
      await toTab(page, 'WatchIt');
      await until(async () => !(await variables(page)).includes('""'), 10_000, 'an id');
      await toTab(page, 'SnapshotsTab');
      expect(await variables(page)).toContain('typed-by-hand');
    },
    MINUTE,
  );

  test(
    'a wrong password is told in the bar, and no password gets into the address',
    async () => {
      const page = await open();
      await page.getByLabel('E-mail').fill('alice@keyframe.test');
      await page.getByLabel('Password').fill('not the password at all');
      await page.getByRole('button', { name: 'Sign in', exact: true }).click();
      await page.locator('.problem').waitFor();
      expect(await page.locator('.person').count()).toBe(0);
      expect(page.url()).toBe(`${app.url}/graphiql`);

      const { password } = (await accounts()).find(({ name }) => name === 'alice') ?? { password: '' };
      await page.getByLabel('Password').fill(password);
      await page.keyboard.press('Enter');
      await page.locator('.person', { hasText: 'alice@keyframe.test' }).waitFor();
      expect(await page.locator('.problem').count()).toBe(0);
      expect(page.url()).toBe(`${app.url}/graphiql`);
    },
    MINUTE,
  );

  test(
    'a reload stays signed in; a duplicate of the page and a sign-out do not',
    async () => {
      const page = await open();
      await signInAs(page, 'alice');
      await load(page);
      await page.locator('.person', { hasText: 'alice@keyframe.test' }).waitFor();
      await run(page);
      await answered(page, '"snapshots"');

      const copied = page.context().waitForEvent('page');
      await page.evaluate('void open("/graphiql")'); // takes a copy of the session's storage along
      await (await copied).locator('.form').waitFor();
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.locator('.form').waitFor();
      await run(page);
      await answered(page, 'UNAUTHENTICATED');
    },
    MINUTE,
  );
});

async function signInAs(page: Page, name: string): Promise<void> {
  await page.getByRole('group', { name: 'Demo accounts' }).getByRole('button', { name, exact: true }).click();
  await page.locator('.person', { hasText: `${name}@keyframe.test` }).waitFor();
}

async function toTab(page: Page, name: string): Promise<void> {
  await page.getByRole('tab', { name }).click();
  await page.locator('.graphiql-query-editor .view-line', { hasText: name }).waitFor();
}

const run = (page: Page): Promise<void> => page.getByRole('button', { name: /^Execute query/ }).click();
const text = async (page: Page, selector: string): Promise<string> =>
  (await page.locator(selector).innerText()).replaceAll('\u00a0', ' '); // the editors draw every space as one that does not break
const answer = (page: Page): Promise<string> => text(page, '.result-window');
const variables = (page: Page): Promise<string> =>
  text(page, 'section[aria-label="Variables"] .graphiql-editor:not(.hidden) .view-lines');
const answered = (page: Page, expected: string): Promise<boolean> =>
  until(async () => (await answer(page)).includes(expected), 15_000, `${expected} in the answer`);
