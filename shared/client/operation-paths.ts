/** Where an operation, an attempt and an effect are in the API of the sidecar. */
export type OneAttempt = { readonly operationId: string; readonly attempt: number };
export type OneEffect = OneAttempt & { readonly effect: string };

export const operationPath = (operationId: string): string =>
  `/v1/operations/${encodeURIComponent(operationId)}`;
export const attemptPath = ({ operationId, attempt }: OneAttempt): string =>
  `${operationPath(operationId)}/attempts/${attempt}`;
export const effectPath = ({ effect, ...attempt }: OneEffect): string =>
  `${attemptPath(attempt)}/effects/${encodeURIComponent(effect)}`;
