/**
 * A process that owns a `local` engine's folder and can be made to die by SIGKILL just before its nth change of the
 * file system: node -r @swc-node/register local-owner.ts <folder> <act> <n>. It says `ready <pids>` or `done`.
 */
import files from 'node:fs/promises';
import { openLocalEngine } from '../../src/engine/local';

let left = Infinity;

for (const change of ['mkdir', 'copyFile', 'rename', 'symlink', 'rm']) {
  const real = Reflect.get(files, change) as (...args: unknown[]) => Promise<unknown>;
  Reflect.set(files, change, (...args: unknown[]) => {
    left -= 1;
    if (left < 0) process.kill(process.pid, 'SIGKILL');
    return real(...args);
  });
}

async function main([folder = '', act = '', steps = '']: string[]): Promise<void> {
  const engine = await openLocalEngine(folder);
  const signal = AbortSignal.timeout(30_000);
  const instance = await engine.findInstance({ project: 'default', name: 'web-1' }, signal);
  if (instance === null) throw new Error('there is no web-1');
  if (act === 'own') {
    console.log('ready');
    return;
  }
  left = Number(steps);
  if (act === 'create') await engine.createSnapshot({ instance, name: 'made' }, { stateful: false }, signal);
  if (act === 'restore') await engine.restoreSnapshot({ instance, name: 'kept' }, { memory: false }, signal);
  if (act === 'delete') await engine.deleteSnapshot({ instance, name: 'kept' }, signal);
  left = Infinity;
  await engine.close();
  console.log('done');
}

void main(process.argv.slice(2));
