/** Apollo: GraphQL over HTTP. Its one plugin of ours stands at the gate, and sets the status of the answer. */
import { ApolloServer, HeaderMap, type ApolloServerPlugin, type GraphQLRequestListener } from '@apollo/server';
import { ApolloServerPluginCacheControlDisabled } from '@apollo/server/plugin/disabled';
import { OperationTypeNode, parse, type GraphQLError, type GraphQLSchema } from 'graphql';
import { retryAfter, statusOf, toFormatted, type Report } from './errors';
import { failure, isRefusal, type Asker, type Gate, type Params, type Pass, type Refusal } from './gate';

export function createApollo(schema: GraphQLSchema, gate: Gate, report: Report): ApolloServer<Asker> {
  return new ApolloServer<Asker>({
    schema,
    introspection: true, // is the gate's to refuse, as everything about documents
    csrfPrevention: true,
    allowBatchedHttpRequests: false,
    includeStacktraceInErrorResponses: false,
    hideSchemaDetailsFromClientErrors: true,
    persistedQueries: false,
    documentStore: null, // the gate has its own
    stopOnTerminationSignals: false,
    formatError: (_, error) => toFormatted(error, report),
    // The cache-control plugin wraps every field; the landing page would need another host.
    plugins: [ApolloServerPluginCacheControlDisabled(), throughTheGate(gate, report)],
    logger: quiet(report),
  });
}

/** In place of documents that are refused, and for texts: Apollo parses nothing when there is a document. */
const NOTHING = '{ __typename }';
const NO_DOCUMENT = parse(NOTHING);

function throughTheGate(gate: Gate, report: Report): ApolloServerPlugin<Asker> {
  return {
    // Apollo has judged the form of the request and prevented CSRF; it has not looked at the document yet.
    requestDidStart: async (asked) => {
      const { request, contextValue: asker } = asked;
      const verdict = await gate.admit({ ...request, documentId: documentIdOf(request.http) }, asker);
      request.query = NOTHING;
      delete request.extensions;
      if (isRefusal(verdict)) Object.assign(asked, { document: NO_DOCUMENT });
      else {
        const { document, contextValue, variableValues } = verdict.args;
        request.variables = variableValues ?? {};
        Object.assign(asked, { document, contextValue });
      }
      return listener(verdict, report);
    },
  };
}

function listener(verdict: Pass | Refusal, report: Report): GraphQLRequestListener<Asker> {
  return {
    // Answers in place of execution what is refused: `data` is absent and nothing has been looked up.
    responseForOperation: () => {
      if (!isRefusal(verdict)) return Promise.resolve(null);
      const singleResult = { errors: verdict.map((error) => toFormatted(error, report)) };
      return Promise.resolve({
        http: { status: 200, headers: new HeaderMap() },
        body: { kind: 'single', singleResult },
      });
    },
    willSendResponse: ({ request, response: { http, body } }) => {
      if (body.kind !== 'single') return Promise.resolve();
      const { singleResult } = body;
      if (!isRefusal(verdict) && singleResult.data !== undefined)
        singleResult.extensions = { ...singleResult.extensions, cost: verdict.cost };
      // 405 for a mutation by GET is Apollo's to say.
      if (singleResult.errors && http.status !== 405) {
        const modern = request.http?.headers.get('accept')?.includes('application/graphql-response+json') ?? false;
        http.status = statusOf(singleResult, modern);
        const seconds = retryAfter(singleResult);
        if (seconds) http.headers.set('retry-after', seconds);
      }
      return Promise.resolve();
    },
  };
}

/** Apollo knows no ids of documents. */
function documentIdOf(http: { body: unknown; search: string } | undefined): unknown {
  const { documentId } = (http?.body ?? {}) as Params;
  if (documentId !== undefined || !http?.search.includes('documentId=')) return documentId;
  return new URLSearchParams(http.search).get('documentId');
}

/** A plain request and its answer are over at once. */
export function takesNoSubscription(operation: OperationTypeNode): GraphQLError | null {
  if (operation !== OperationTypeNode.SUBSCRIPTION) return null;
  const message = 'A subscription needs a WebSocket (graphql-transport-ws), or "Accept: text/event-stream".';
  return failure(message, 'BAD_REQUEST');
}

function quiet(report: Report) {
  const log = (level: 'info' | 'error') => (message: unknown) => report(level, {}, String(message));
  return { debug: () => undefined, info: () => undefined, warn: log('info'), error: log('error') };
}
