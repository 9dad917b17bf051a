/** The key under which an address is counted: itself, or the /64 of an IPv6 one, all of which belongs to one household. */
export function networkOf(address: string | null): string {
  if (!address?.includes(':')) return address ?? 'unknown';
  const [left, right = []] = address.split('::').map((half) => half.split(':').filter(Boolean));
  const head = left ?? [];
  const zeros = Array<string>(Math.max(0, 8 - head.length - right.length)).fill('0');
  const groups = address.includes('::') ? [...head, ...zeros, ...right] : head;
  return `${groups.slice(0, 4).join(':')}::/64`;
}
