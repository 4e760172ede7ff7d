/**
 * What a person says to a divergence, and what follows from it.
 *
 * S1  It is settled once. The same word again changes nothing; another one is refused.
 * S2  Revoking stops work only where there is work to stop and its rule lets it be stopped; what came
 *     of it is what its host reports, not what was ordered.
 */
import type {
  Divergence,
  DivergenceStop,
  Resolution,
  ResolutionVerdict,
} from '../../shared/wire/divergences.ts';
import type { OperationState } from '../../shared/wire/operation.ts';

export type Work = {
  readonly state: OperationState;
  readonly onRevoke: 'abort' | 'finish' | 'pause';
};

const ENDED: ReadonlySet<OperationState> = new Set([
  'succeeded',
  'failed',
  'cancelled',
  'expired',
  'unknown',
]);
export const hasEnded = (state: OperationState): boolean => ENDED.has(state);

export type Settled =
  | { readonly kind: 'settled'; readonly divergence: Divergence }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'refused'; readonly why: 'settled' | 'nothing_to_revoke' };

export function settleDivergence(
  divergence: Divergence,
  said: { readonly verdict: ResolutionVerdict; readonly reason: string; readonly by: string },
  work: Work | null,
  atMs: number,
): Settled {
  const { verdict, reason, by } = said;
  if (divergence.state !== 'open') {
    return divergence.state === verdict
      ? { kind: 'unchanged' }
      : { kind: 'refused', why: 'settled' };
  }
  if (verdict === 'revoked' && divergence.kind === 'deny_to_permit') {
    return { kind: 'refused', why: 'nothing_to_revoke' };
  }
  const stop = verdict === 'revoked' ? stopOf(work) : null;
  const provenance = 'asserted' as const;
  const resolution: Resolution = { verdict, reason, by, atMs, provenance, stop };
  return { kind: 'settled', divergence: { ...divergence, state: verdict, resolution } };
}

/** S2. */
function stopOf(work: Work | null): DivergenceStop {
  if (work === null || hasEnded(work.state)) {
    return { state: 'not_needed', onRevoke: work?.onRevoke ?? null };
  }
  const { onRevoke } = work;
  switch (onRevoke) {
    case 'abort':
      return { state: 'pending', onRevoke };
    case 'finish':
      return { state: 'finishes', onRevoke };
    case 'pause':
      return { state: 'not_held', onRevoke };
  }
}

/** Its host has reported the end of it. */
export function stopDone(divergence: Divergence): Divergence {
  const { resolution } = divergence;
  if (resolution?.stop?.state !== 'pending') return divergence;
  const stop: DivergenceStop = { ...resolution.stop, state: 'done' };
  return { ...divergence, resolution: { ...resolution, stop } };
}
