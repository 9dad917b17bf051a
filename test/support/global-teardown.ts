import { dropTemplate } from './database';
import { UNDO } from './global-setup';

/** Ends the server that setup started; on a server of somebody else's, takes away what the run left. */
export default async function globalTeardown(): Promise<void> {
  const undo = Reflect.get(globalThis, UNDO) as (() => Promise<void>) | undefined;
  if (undo) await undo();
  else await dropTemplate();
}
