import type WebSocket from 'ws';
import { ANYWHERE, type Hint } from './engine';
import type { Endpoint } from './incus-connect';
import { refusal, unavailable } from './incus-errors';
import { list, text, wire, type Wire } from './incus-facts';

/** A stream that is silent for longer is dead; we ask for a sign of life three times in that span. */
const SILENCE_MS = 9_000;
const PING_MS = 3_000;

/**
 * What happens to an instance that our rows would show. The rest (commands run in it, files read from it) is too much
 * and changes nothing that we keep.
 */
const NOTED =
  /^instance-(?:created|renamed|deleted|updated|restored|started|stopped|shutdown|restarted|paused|resumed|ready|snapshot-\w+)$/;

/** What an event says about where to look; an empty list when it does not concern us. */
export function hintsOf(event: unknown, kind: 'incus' | 'lxd'): Hint[] {
  const { type, metadata, project } = wire(event);
  if (type === 'lifecycle') return lifecycleHints(wire(metadata), text(project));
  if (type === 'operation') return operationHints(wire(metadata), text(project), kind);
  return [];
}

function lifecycleHints(event: Wire, project: string): Hint[] {
  if (!NOTED.test(text(event.action))) return [];
  const here = instanceAt(event.source, project);
  const former = text(wire(event.context).old_name);
  if (here === null || event.action !== 'instance-renamed' || former === '') return [here];
  return [{ ...here, name: former }, here];
}

/**
 * A stateful restore and a changed expiry have no lifecycle event, only an operation. Its end is what counts, also a
 * bad one: a restore that failed has often changed the instance.
 */
function operationHints(operation: Wire, project: string, kind: 'incus' | 'lxd'): Hint[] {
  const ended = ['Success', 'Failure', 'Cancelled'].includes(text(operation.status));
  const description = text(operation.description);
  if (!ended || !/snapshot/i.test(description)) return [];
  // The sweep names no instance, and each snapshot that it deletes has its own lifecycle event.
  if (/^cleaning up expired/i.test(description)) return [];
  // LXD names the wrong instance for some operations: look everywhere.
  if (kind === 'lxd') return [null];
  const resources = wire(operation.resources);
  const urls = [resources.instances, resources.instances_snapshots].flatMap(list);
  const hints = new Map(urls.map((url) => instanceAt(url, project)).map((hint) => [JSON.stringify(hint), hint]));
  return hints.size === 0 ? [null] : [...hints.values()];
}

/**
 * The instances, as `project/name`, on whose snapshots these operations of a project are at work. What the engine does by its
 * own schedule, taking or deleting, is one operation for all its instances, and names none.
 */
export function placesAtWork(operations: unknown[], project: string): string[] {
  return operations.flatMap((operation) => {
    const { status, description, resources } = wire(operation);
    if (!['Running', 'Pending'].includes(text(status)) || !/snapshot/i.test(text(description))) return [];
    if (Object.values(wire(resources)).flatMap(list).length === 0)
      return /volume/i.test(text(description)) ? [] : [ANYWHERE];
    const { instances, instances_snapshots, containers } = wire(resources);
    const places = [instances, instances_snapshots, containers].flatMap(list).map((url) => instanceAt(url, project));
    return places.flatMap((place) => (place ? `${place.project}/${place.name}` : []));
  });
}

/** The instance that a URL of the engine is about; null when it cannot be told. */
function instanceAt(source: unknown, project: string): Hint {
  const match = /^\/1\.0\/(?:instances|containers|virtual-machines)\/([^/?]+)[^?]*(?:\?(.*))?$/s.exec(text(source));
  if (!match) return null;
  const [, name = '', query] = match;
  try {
    const named = new URLSearchParams(query).get('project') ?? '';
    return { project: named || project || 'default', name: decodeURIComponent(name) };
  } catch {
    return null;
  }
}

/**
 * Listens at the first member that accepts, on one stream per query. Hints come until the signal aborts (resolves) or
 * one of the streams is lost (rejects); the first hint says to look everywhere, for nothing tells what was missed.
 */
export async function watchEvents(
  ways: Endpoint[],
  queries: string[],
  on: { event: (event: unknown) => void; open: () => void },
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  let last: unknown;
  for (const way of ways) {
    const streams = queries.map((query) => new EventStream(way.webSocket(`/1.0/events?${query}`), on.event));
    const stop = (): void => streams.forEach((stream) => stream.stop());
    signal.addEventListener('abort', stop, { once: true });
    let isOpen = false;
    try {
      await Promise.all(streams.map((stream) => stream.opened));
      isOpen = true;
      on.open();
      await Promise.race(streams.map((stream) => stream.lost));
    } catch (error) {
      if (wasStopped(signal)) return;
      if (isOpen) throw error;
      last = error;
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
    }
  }
  throw last;
}

/** A look of its own, because the compiler takes a signal for the same before and after a wait. */
function wasStopped(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** One websocket with a pulse. */
class EventStream {
  readonly opened: Promise<void>;
  /** Rejects when the stream ends, for whatever reason. */
  readonly lost: Promise<never>;
  private heardAt = Date.now();

  constructor(
    private readonly socket: WebSocket,
    onEvent: (event: unknown) => void,
  ) {
    let fail: (error: unknown) => void = () => undefined;
    this.lost = new Promise((_, reject) => (fail = reject));
    this.opened = Promise.race([new Promise<void>((resolve) => socket.once('open', resolve)), this.lost]);
    // Whoever waits for one of the two need not wait for the other.
    this.lost.catch(() => undefined);
    this.opened.catch(() => undefined);

    const pulse = setInterval(() => this.beat(), PING_MS);
    const hear = (): void => void (this.heardAt = Date.now());
    socket.on('ping', hear).on('pong', hear);
    socket.on('message', (data) => {
      hear();
      const event = parse(data);
      try {
        if (event !== undefined) onEvent(event);
      } catch (error) {
        // Thrown from here it would end the process; it belongs to whoever watches.
        fail(error);
        socket.terminate();
      }
    });
    socket.on('unexpected-response', (request, response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body = (body + chunk).slice(0, 8_000)));
      response.on('close', () => {
        fail(refusal('read', response.statusCode ?? 500, text(wire(parse(body)).error) || body));
        request.destroy();
        socket.terminate();
      });
    });
    socket.on('error', (error) => fail(unavailable('The event stream of the engine broke off.', String(error), error)));
    socket.on('close', () => {
      clearInterval(pulse);
      fail(unavailable('The event stream of the engine ended.'));
    });
  }

  stop(): void {
    this.socket.terminate();
  }

  private beat(): void {
    if (Date.now() - this.heardAt > SILENCE_MS) this.socket.terminate();
    else if (this.socket.readyState === this.socket.OPEN) this.socket.ping();
  }
}

function parse(data: unknown): unknown {
  try {
    return JSON.parse(String(data));
  } catch {
    return undefined;
  }
}
