/** Leaving without losing a request: what is open is known, answered, and only then told to go. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { WebSocketServer } from 'ws';
import type { Pressure } from './pressure';
import type { Streams } from './streams';

/** What is not answered so long after connections are refused is cut off … */
const LAST_ANSWERS_MS = 2500;
/** … when clients have had this long to take note that we go. */
const FAREWELL_MS = 500;

/** Follows the requests of a server that does not listen yet. */
export class OpenRequests {
  private readonly open = new Set<FastifyReply>();
  private isLeaving = false;

  constructor(
    private readonly server: FastifyInstance,
    private readonly streams: Streams,
    private readonly pressure: Pressure,
  ) {
    server.addHook('onRequest', (_request, reply, next) => {
      this.open.add(reply);
      reply.raw.once('close', () => this.open.delete(reply));
      if (this.isLeaving) reply.raw.shouldKeepAlive = false;
      next();
    });
  }

  /**
   * Goes on serving for `sayNoMs`, in which whoever asks for readiness learns to send requests elsewhere. Then refuses
   * connections, answers what was asked, and ends what would never end by itself: sockets and event streams.
   */
  async leave(sayNoMs: number, sockets: WebSocketServer): Promise<void> {
    // A client that keeps its connection would send the next request to somebody who is gone.
    this.isLeaving = true;
    for (const { raw } of this.open) raw.shouldKeepAlive = false;
    await sleep(sayNoMs);
    const closed = this.server.close();
    const deadline = Date.now() + LAST_ANSWERS_MS;
    while (this.isAwaited() && Date.now() < deadline) await sleep(20);
    for (const socket of sockets.clients) socket.close(1001, 'Going away');
    for (const { request } of this.open) if (this.streams.isEndless(request)) request.socket.destroySoon();
    const cut = setTimeout(() => {
      for (const socket of sockets.clients) socket.terminate();
      this.server.server.closeAllConnections();
    }, FAREWELL_MS);
    await closed.finally(() => clearTimeout(cut));
  }

  private isAwaited(): boolean {
    // Who stands in line has not been given to the framework yet, and has asked all the same.
    if (this.pressure.hasLine() || this.streams.isAwaited()) return true;
    return [...this.open].some(({ request }) => !this.streams.isEndless(request));
  }
}
