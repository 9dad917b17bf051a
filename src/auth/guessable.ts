/** Which passwords are guessed first: common ones, and what is made of very few of them. */

/** So many pieces are tried by every guesser; more are a pass phrase. */
const FEW = 3;
const SHORTEST_PIECE = 3;
const LONGEST_PIECE = 40;
/** What people here think of first. */
const OURS = ['keyframe', 'snapshot', 'snapshots'];

/** Whether the whole of it is up to three common passwords, names, plain runs or repetitions in a row; capitals, spaces and hyphens count for nothing. */
export function isGuessable(password: string, names: string[]): boolean {
  const plain = plainly(password);
  const own = new Set([...OURS, ...names.flatMap(partsOf)]);
  const isPiece = (piece: string) => own.has(piece) || common().has(piece) || RUNS.includes(piece);
  return /^(.{1,8}?)\1+.{0,7}$/s.test(plain) || own.has(plain) || piecesOf(plain, isPiece) <= FEW;
}

/** The least number of pieces that it is made of; infinite when it is made of anything else. */
function piecesOf(text: string, isPiece: (piece: string) => boolean): number {
  const least = [0];
  for (let end = 1; end <= text.length; end += 1) {
    least[end] = Infinity;
    for (let start = Math.max(0, end - LONGEST_PIECE); start <= end - SHORTEST_PIECE; start += 1) {
      const pieces = (least[start] ?? Infinity) + 1;
      if (pieces < (least[end] ?? Infinity) && pieces <= FEW && isPiece(text.slice(start, end))) least[end] = pieces;
    }
  }
  return least[text.length] ?? Infinity;
}

/** A name and an address, whole and in parts. */
function partsOf(name: string): string[] {
  return [plainly(name), ...name.toLowerCase().split(/[^\p{L}\p{N}]+/u)].filter(
    (part) => part.length >= SHORTEST_PIECE,
  );
}

const plainly = (text: string) => text.toLowerCase().replace(/[\s._-]+/g, '');

const RUNS = [
  'abcdefghijklmnopqrstuvwxyz'.repeat(3),
  '0123456789'.repeat(6),
  '01234567890'.repeat(6),
  '9876543210'.repeat(6),
  ...['qwertyuiop', 'asdfghjkl', 'zxcvbnm'],
].join(' ');

let listed: ReadonlySet<string> | undefined;

/** The list takes a moment and some memory, and most processes never need it. */
function common(): ReadonlySet<string> {
  const { dictionary } = require('@zxcvbn-ts/language-common') as typeof import('@zxcvbn-ts/language-common');
  return (listed ??= new Set(dictionary['passwords-common']));
}
