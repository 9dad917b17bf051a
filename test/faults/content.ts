/** A known set of files in an instance, all of one epoch, by which a copy is seen to be whole. */
import { readdirSync, statSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const FOLDER = 'srv/lab';
const FILLER = 'keyframe '.repeat(200);

const nameOf = (index: number): string => `file-${String(index).padStart(5, '0')}`;
const textOf = (epoch: string, index: number): string => `${epoch} ${index} ${FILLER}\n`;

/** Makes all files of the epoch, and takes away what else is there. */
export async function writeEpoch(root: string, epoch: string, count: number): Promise<void> {
  const folder = join(root, FOLDER);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  for (let index = 0; index < count; index += 1) await writeFile(join(folder, nameOf(index)), textOf(epoch, index));
}

/** What is wrong with the files, taken to be those of the epoch; null when each is there, whole, and no other. */
export async function faultOf(root: string, epoch: string, count: number): Promise<string | null> {
  const folder = join(root, FOLDER);
  const found = (await readdir(folder).catch(() => [])).sort();
  if (found.length !== count) return `${found.length} of ${count} files of epoch ${epoch}`;
  for (let index = 0; index < count; index += 1) {
    if (found[index] !== nameOf(index)) return `${String(found[index])} in place of ${nameOf(index)}`;
    const text = await readFile(join(folder, nameOf(index)), 'utf8').catch(() => '');
    if (text !== textOf(epoch, index)) {
      return `${nameOf(index)} is not of epoch ${epoch} but begins with "${text.slice(0, 24)}" (${text.length} characters)`;
    }
  }
  return null;
}

/** The many small files that make an instance slow, each of one size: a copy that was cut short has fewer, or shorter ones. */
export function bulkFaultOf(root: string, count: number, size: number): string | null {
  const folder = join(root, 'srv/files');
  let whole = 0;
  for (const inner of count > 0 ? readdirSync(folder) : []) {
    for (const name of readdirSync(join(folder, inner))) {
      if (statSync(join(folder, inner, name)).size === size) whole += 1;
    }
  }
  return whole === count ? null : `${whole} of ${count} small files`;
}

/** The epoch that the first file says it is of. */
export async function epochOf(root: string): Promise<string> {
  const text = await readFile(join(root, FOLDER, nameOf(0)), 'utf8').catch(() => '');
  return text.split(' ')[0] ?? '';
}
