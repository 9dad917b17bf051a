/** Apollo: GraphQL over HTTP. Its one plugin of ours authorizes before execution and sets the status of the answer. */
import { ApolloServer, HeaderMap, type ApolloServerPlugin, type GraphQLRequestListener } from '@apollo/server';
import { ApolloServerPluginCacheControlDisabled } from '@apollo/server/plugin/disabled';
import { GraphQLError, OperationTypeNode, type GraphQLSchema, type OperationDefinitionNode } from 'graphql';
import type { Context, Surroundings } from '../resolvers/context';
import { recordForbidden } from '../resolvers/refusals';
import { retryAfter, statusOf, toFormatted, type Report } from './errors';

export function createApollo(schema: GraphQLSchema, shared: Surroundings, report: Report): ApolloServer<Context> {
  return new ApolloServer<Context>({
    schema,
    introspection: true,
    csrfPrevention: true,
    allowBatchedHttpRequests: false,
    includeStacktraceInErrorResponses: false,
    hideSchemaDetailsFromClientErrors: true,
    persistedQueries: false,
    stopOnTerminationSignals: false,
    formatError: (_, error) => toFormatted(error, report),
    // The cache-control plugin wraps every field; the landing page would need another host.
    plugins: [ApolloServerPluginCacheControlDisabled(), accessAndStatus(shared, report)],
    logger: quiet(report),
  });
}

function accessAndStatus(shared: Surroundings, report: Report): ApolloServerPlugin<Context> {
  const listener: GraphQLRequestListener<Context> = {
    // Answers in place of execution when a field is refused: `data` is absent and nothing has been looked up.
    responseForOperation: async ({ document, operation: found, request, contextValue }) => {
      // Apollo asks also when operationName names none; it refuses that itself, a step later.
      const operation = found as OperationDefinitionNode | undefined;
      if (!operation) return null;
      const errors = shared.authorizer.authorize(document, operation, request.variables ?? {}, contextValue.caller);
      await recordForbidden(shared, contextValue, document, operation, errors);
      // Executed like a query it would fail with an error of ours.
      if (errors.length === 0 && operation.operation === OperationTypeNode.SUBSCRIPTION) errors.push(notHere());
      if (errors.length === 0) return null;
      const singleResult = { errors: errors.map((error) => toFormatted(error, report)) };
      return { http: { status: 200, headers: new HeaderMap() }, body: { kind: 'single', singleResult } };
    },
    willSendResponse: ({ request, response }) => {
      if (response.body.kind === 'single' && response.body.singleResult.errors) {
        const modern = request.http?.headers.get('accept')?.includes('application/graphql-response+json') ?? false;
        response.http.status = keepsOwnStatus(response.http.status) ?? statusOf(response.body.singleResult, modern);
        const seconds = retryAfter(response.body.singleResult);
        if (seconds) response.http.headers.set('retry-after', seconds);
      }
      return Promise.resolve();
    },
  };
  return { requestDidStart: () => Promise.resolve(listener) };
}

function notHere(): GraphQLError {
  const message = 'A subscription needs a WebSocket (graphql-transport-ws), or "Accept: text/event-stream".';
  return new GraphQLError(message, { extensions: { code: 'BAD_REQUEST' } });
}

/** 405 for a mutation by GET is Apollo's to say. */
function keepsOwnStatus(status: number | undefined): number | undefined {
  return status === 405 ? status : undefined;
}

function quiet(report: Report) {
  const log = (level: 'info' | 'error') => (message: unknown) => report(level, {}, String(message));
  return { debug: () => undefined, info: () => undefined, warn: log('info'), error: log('error') };
}
