/** How a register of the sidecar is named, and under which guard it is written. */
import { FENCING_TOKEN_HEADER, fencingTokenText, type FencingToken } from '../wire/register-api.ts';

export type RegisterGuard = {
  /** Of the resource that the register belongs to: `leaseEpoch` of the attempt or the effect. */
  readonly token: FencingToken;
  /** The `version` that was read; `null` for a register that must not be there yet. */
  readonly replaces: number | null;
};

export function registerPath(key: string): string {
  return `/v1/registers/${encodeURIComponent(key)}`;
}

export function guardHeaders({ token, replaces }: RegisterGuard): Record<string, string> {
  return {
    [FENCING_TOKEN_HEADER]: fencingTokenText(token),
    ...(replaces === null ? { 'if-none-match': '*' } : { 'if-match': `"${replaces}"` }),
  };
}
