/** GraphQL over HTTP, as the audits of the specification's working group judge it. */
import { auditServer } from 'graphql-http';
import { startTestApp, type TestApp } from './support/app';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.stop());

test('no audit finds an error or a warning; three notices are the price of CSRF prevention', async () => {
  const results = await auditServer({ url: `${app.url}/graphql`, fetchFn: fetch });
  const of = (status: string) => results.filter((each) => each.status === status).map(({ name }) => name);
  expect(results.length).toBeGreaterThan(60);
  expect(of('error')).toEqual([]);
  expect(of('warn')).toEqual([]);
  // By GET without the header that makes a browser ask first.
  expect(of('notice')).toEqual([
    'MAY accept application/x-www-form-urlencoded formatted GET requests',
    'MAY allow URL-encoded JSON string {variables} parameter in GETs when accepting application/graphql-response+json',
    'MAY allow URL-encoded JSON string {variables} parameter in GETs when accepting application/json',
  ]);
});
