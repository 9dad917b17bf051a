/** Writes THIRD_PARTY_LICENCES.md from package-lock.json, or with --check says what is wrong with it and exits 1. */
import { readFileSync, writeFileSync } from 'node:fs';

const FILE = new URL('../THIRD_PARTY_LICENCES.md', import.meta.url);
const LOCK = new URL('../package-lock.json', import.meta.url);

/** Those that allow what we do with them: to use and to pass on, with their notice. */
const ALLOWED = new Set(['0BSD', 'Apache-2.0', 'BlueOak-1.0.0', 'BSD-2-Clause', 'BSD-3-Clause', 'CC0-1.0', 'ISC', 'MIT', 'Python-2.0', 'Unlicense']); // prettier-ignore

/** Those whose package says it in a way that the lock file does not take over; looked up by hand. */
const SAID_ELSEWHERE = { 'limiter 1.1.5': 'MIT' };

/** Good when one side of an "or" is allowed, and all of an "and". */
function isAllowed(expression) {
  const bare = expression.replace(/^\(|\)$/g, '');
  if (bare.includes(' OR ')) return bare.split(' OR ').some(isAllowed);
  return bare.split(' AND ').every((licence) => ALLOWED.has(licence.trim()));
}

const { packages } = JSON.parse(readFileSync(LOCK, 'utf8'));
const rows = Object.entries(packages)
  .filter(([path, { dev, link }]) => path !== '' && !dev && !link)
  .map(([path, { version, license }]) => {
    const name = path.replace(/^.*node_modules\//, '');
    return { name, version, licence: license ?? SAID_ELSEWHERE[`${name} ${version}`] ?? 'unknown' };
  })
  .sort((a, b) => (`${a.name} ${a.version}` < `${b.name} ${b.version}` ? -1 : 1));
const lines = [...new Set(rows.map(({ name, version, licence }) => `| ${name} | ${version} | ${licence} |`))];
const text = `# Licences of what we build on

The packages that a running Keyframe is made of, from \`package-lock.json\`; \`node scripts/licences.mjs\` writes this file.

| Package | Version | Licence |
|---|---|---|
${lines.join('\n')}
`;

const faults = rows.filter(({ licence }) => !isAllowed(licence)).map(({ name, version, licence }) => `${name} ${version}: ${licence} is not on the list of licences allowed`); // prettier-ignore
if (!process.argv.includes('--check')) writeFileSync(FILE, text);
else if (readFileSync(FILE, 'utf8') !== text) faults.push('THIRD_PARTY_LICENCES.md is out of date: run node scripts/licences.mjs'); // prettier-ignore
for (const fault of faults) console.error(fault);
if (faults.length > 0) process.exitCode = 1;
