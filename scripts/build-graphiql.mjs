// Bundles the GraphiQL page into dist/graphiql: the page itself and Monaco's three workers, each one file. Everything
// is served from disk; nothing is fetched from elsewhere when the page runs.
import { copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = `${root}/src/graphiql`;
const outdir = `${root}/dist/graphiql`;
// Monaco is a dependency of GraphiQL's, so it is looked up from there: page and workers must be of one version.
const { resolve } = createRequire(createRequire(import.meta.url).resolve('@graphiql/react'));

const { outputFiles } = await build({
  entryPoints: {
    main: `${source}/main.tsx`,
    'editor.worker': resolve('monaco-editor/esm/vs/editor/editor.worker.js'),
    'json.worker': resolve('monaco-editor/esm/vs/language/json/json.worker.js'),
    'graphql.worker': resolve('monaco-graphql/esm/graphql.worker.js'),
  },
  outdir,
  write: false,
  bundle: true,
  format: 'iife',
  platform: 'browser',
  target: 'es2022',
  minify: true,
  legalComments: 'linked',
  define: { 'process.env.NODE_ENV': '"production"' },
  loader: { '.ttf': 'file' },
  assetNames: '[name]-[hash]',
  publicPath: '/graphiql',
  logLevel: 'warning',
});
// Written over the old page, which so stays whole until the new one is: a server may be reading it. The document comes
// last, for a build without it counts as none.
await mkdir(outdir, { recursive: true });
for (const { path, contents } of outputFiles) await writeFile(path, contents);
await copyFile(`${source}/index.html`, `${outdir}/index.html`);

const current = new Set(['index.html', ...outputFiles.map(({ path }) => basename(path))]);
for (const name of await readdir(outdir)) if (!current.has(name)) await rm(`${outdir}/${name}`, { recursive: true });
