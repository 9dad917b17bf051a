export function describePeople(..._: unknown[]): void {}
