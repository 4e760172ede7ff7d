/** Reconcilers over the parts of a test sidecar, with real calls to whoever listens on loopback. */
import { HttpProbeCaller } from '../../shared/platform/http-probe.ts';
import { LOOPBACK_TARGETS, probeTargets } from '../../dataplane/recovery/probe-targets.ts';
import { Reconciler, type ReconcilerParts } from '../../dataplane/recovery/reconciler.ts';
import type { LimitKeeper } from '../../dataplane/operations/limit-keeper.ts';

export type TestReconcilers = {
  readonly reconciler: Reconciler;
  /** Over the same journal, as the next process has one. */
  readonly anotherReconciler: () => Reconciler;
  /** What came of each try, as `strategy outcome`. */
  readonly tries: readonly string[];
  readonly close: () => Promise<void>;
};

export function testReconcilers(
  parts: Omit<ReconcilerParts, 'probe' | 'targets' | 'onReopened' | 'onTry'> & {
    readonly limits: LimitKeeper;
  },
): TestReconcilers {
  const tries: string[] = [];
  const probe = new HttpProbeCaller();
  const anotherReconciler = (): Reconciler =>
    new Reconciler({
      ...parts,
      probe,
      targets: probeTargets(LOOPBACK_TARGETS),
      onReopened: (operation) => parts.limits.reopened(operation),
      onTry: ({ strategy, outcome }) => tries.push(`${strategy} ${outcome}`),
    });
  const reconciler = anotherReconciler();
  return { reconciler, anotherReconciler, tries, close: () => probe.close() };
}
