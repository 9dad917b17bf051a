export function describeForbidden(..._: unknown[]): void {}
