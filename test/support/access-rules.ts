export function describeRules(..._: unknown[]): void {}
