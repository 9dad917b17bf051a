// Compiles src/ into dist/ and bundles the GraphiQL page beside it. `--if-missing`: only when there is no build yet
// (after `npm ci --ignore-scripts`, which leaves `prepare` out).
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = (script, ...args) => {
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
};

if (
  !process.argv.includes('--if-missing') ||
  ![`main.js`, `graphiql/index.html`].every((file) => existsSync(`${root}/dist/${file}`))
) {
  run('node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json');
  run('scripts/build-graphiql.mjs');
}
