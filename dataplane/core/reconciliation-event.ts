/** What can befall an operation whose outcome is unknown, beside a late report and a resolution. */
import type { Provenance } from '../../shared/wire/operation.ts';
import type { TryVerdict } from '../../shared/wire/reconciliation.ts';

export type ReconciliationEvent =
  | {
      readonly kind: 'begin_try';
      readonly strategy: 'probe' | 'retry' | 'compensate';
      /** Who asked for it; `null`: its rule did. */
      readonly by: string | null;
      /** In [0, 1). */
      readonly unitRandom: number;
    }
  | {
      readonly kind: 'end_try';
      readonly number: number;
      readonly verdict: TryVerdict;
      readonly detail: string;
      readonly result: unknown;
      readonly evidence: unknown;
      /** Another try would end in the same way. */
      readonly isFinal: boolean;
    }
  | { readonly kind: 'leave_to_person'; readonly reason: string }
  | { readonly kind: 'link_compensation'; readonly number: number; readonly operationId: string }
  | {
      readonly kind: 'compensated';
      readonly operationId: string;
      readonly provenance: Provenance;
    }
  | {
      readonly kind: 'claim';
      readonly holder: string;
      readonly app: string;
      readonly ttlMs: number;
    }
  | { readonly kind: 'release'; readonly holder: string; readonly force: boolean };
