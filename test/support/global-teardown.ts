import { UNDO } from './global-setup';

/** Ends the server that setup started, if it started one. */
export default async function globalTeardown(): Promise<void> {
  const undo = Reflect.get(globalThis, UNDO) as (() => Promise<void>) | undefined;
  await undo?.();
}
