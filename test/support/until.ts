/** Polls until `look` gives something truthy, and gives that; fails after `ms` saying what was waited for. */
export async function until<T>(
  look: () => Promise<T | false | null | undefined> | T | false | null | undefined,
  ms = 10_000,
  what = 'it',
): Promise<T> {
  const deadline = Date.now() + ms;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms for ${what} in vain`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
