import { Kind, OperationTypeNode, parse, type OperationDefinitionNode } from 'graphql';
import { createClient, type Client } from 'graphql-ws';
import type { Request } from './http';
import type { Session } from './session';
import type { Fetcher, Observable } from '@graphiql/toolkit';
import type { ExecutionResult } from 'graphql';

const FORBIDDEN = 4403;
const RETRIES = 2;

/** How GraphiQL reaches the server: queries and mutations by POST, subscriptions by WebSocket, both as the session's person. */
export function createFetcher(session: Session): Fetcher {
  const observe = createSocket(session);
  return ({ query, variables, operationName }, options) => {
    const operation = chosen(query, operationName);
    const name = operation?.name?.value;
    const request: Request = {
      query,
      ...(variables ? { variables: variables as Record<string, unknown> } : {}),
      ...(name ? { operationName: name } : {}),
    };
    return operation?.operation === OperationTypeNode.SUBSCRIPTION
      ? observe(request)
      : session.request(request, options?.headers);
  };
}

// GraphiQL notices a new text a moment late, so the name it passes may still be that of the tab before.
function chosen(query: string, wanted: string | null | undefined): OperationDefinitionNode | undefined {
  try {
    const operations = parse(query).definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
    return (
      operations.find(({ name }) => name?.value === wanted) ?? (operations.length === 1 ? operations[0] : undefined)
    );
  } catch {
    return undefined; // the server words the syntax error
  }
}

/** One connection per person: it is authorized once, when it opens, so another person needs another. */
function createSocket(session: Session): (request: Request) => Observable<ExecutionResult> {
  let open: { client: Client; generation: number } | undefined;
  session.subscribe(() => {
    if (open && open.generation !== session.view().generation) {
      void open.client.dispose();
      open = undefined;
    }
  });
  const connect = () => {
    open ??= { client: createSocketClient(session), generation: session.view().generation };
    return open.client;
  };
  return (request) => ({
    subscribe: (sink?: unknown) => {
      if (!isSink(sink)) throw new TypeError('GraphiQL subscribes with one object of three functions.');
      const unsubscribe = connect().subscribe<Record<string, unknown>>(request, {
        next: (result) => sink.next(result),
        error: (error) => sink.error(closed(error) ?? error),
        complete: () => sink.complete(),
      });
      return { unsubscribe };
    },
  });
}

function createSocketClient(session: Session): Client {
  return createClient({
    url: `${location.origin.replace(/^http/, 'ws')}/graphql`,
    connectionParams: async () => {
      const authorization = await session.authorization();
      return authorization ? { authorization } : {};
    },
    retryAttempts: RETRIES,
    on: {
      // The session or the role was lost: renewing tells which, and a role that changed gets a token of its own.
      closed: (event) => {
        if (event instanceof CloseEvent && event.code === FORBIDDEN) void session.renew();
      },
    },
  });
}

interface Sink {
  next(result: unknown): void;
  error(error: unknown): void;
  complete(): void;
}
const isSink = (value: unknown): value is Sink => typeof value === 'object' && value !== null && 'next' in value;

const closed = (error: unknown): Error | undefined =>
  error instanceof CloseEvent
    ? new Error(`The server closed the connection: ${error.code} ${error.reason}`.trim())
    : undefined;
