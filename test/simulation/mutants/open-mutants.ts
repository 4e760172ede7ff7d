/**
 * Bugs that no checker has found out yet. Most were tried with 3 to 12 seeds, some with none that ran to
 * its end: the workload comes to them seldom. They are run where they are asked for by name, and are
 * not among those that must be caught.
 */
import type { Mutant } from './mutant.ts';

export const OPEN_MUTANTS: readonly Mutant[] = [
  {
    name: 'forget-quota-after-restart',
    about: 'what was used of a quota is not kept, and a restart begins anew',
    promise: 'I3',
    file: 'dataplane/journal/journal-engine.ts',
    find: 'if (command.quota !== undefined) this.#quotas.count(command.quota, command.now);',
    replace: '',
    seedsMax: 40,
  },
  {
    name: 'young-after-reboot',
    about: 'after a reboot the age of authority is counted from the start',
    promise: 'I5',
    file: 'shared/core/time.ts',
    find: 'return now.wallMs >= earlier.wallMs ? now.wallMs - earlier.wallMs : null;',
    replace: 'return now.wallMs >= earlier.wallMs ? 0 : null;',
    seedsMax: 40,
  },
  {
    name: 'apply-an-older-revision',
    about: 'a bundle with an older revision than was in force here is put in force',
    promise: 'I11',
    file: 'dataplane/core/bundle-acceptance.ts',
    find: 'if (highWater !== null && policyRevision < highWater.policyRevision) {',
    replace: 'if (highWater !== null && policyRevision < 0) {',
    seedsMax: 80,
  },
  {
    name: 'count-from-the-old-copy',
    about: 'a control whose store was put back grants on from the epoch that the copy has',
    promise: 'I6',
    file: 'control/leases/lessor.ts',
    find: 'highestEpoch: Math.max(before.highestEpoch, floors.epochAtStart, seen),',
    replace: `highestEpoch:
            before.highestEpoch >= floors.epochAtStart
              ? this.#start.storedEpoch
              : before.highestEpoch,`,
    seedsMax: 60,
  },
  {
    name: 'overwrite-a-register',
    about: 'a register is written over another version than the one that was read',
    promise: 'I6',
    file: 'dataplane/core/register.ts',
    find: 'if (replaces === register.version) return { ok: true };',
    replace: 'if (replaces !== register.version + 0.5) return { ok: true };',
    seedsMax: 60,
  },
  {
    name: 'skip-the-lock-delay',
    about: 'a resource is given on as soon as the lease before has ended',
    promise: 'I7',
    file: 'control/core/lease-transition.ts',
    find: 'if (delayedMs > 0) return',
    replace: 'if (delayedMs > lessor.lockDelayMs) return',
    seedsMax: 60,
  },
  {
    name: 'grant-before-all-are-heard',
    about: 'after a start control grants before every host that it knew has been heard',
    promise: 'I7',
    file: 'control/leases/lessor.ts',
    find: 'return this.#unheard.size - (isLast ? 1 : 0) > 0 ? this.#recovery.startedBootMs : null;',
    replace:
      'return this.#unheard.size - (isLast ? 1 : 0) > 1_000 ? this.#recovery.startedBootMs : null;',
    seedsMax: 40,
  },
  {
    name: 'ignore-the-run-id',
    about: 'a request of before a start of control counts as heard by it',
    promise: 'I7',
    file: 'control/hosts/host-sync.ts',
    find: 'const isOfThisRun = request.runId === lessor.runId;',
    replace: 'const isOfThisRun = true;',
    seedsMax: 40,
  },
  {
    name: 'act-after-the-lease',
    about: 'an owner goes on for minutes after the end of its lease',
    promise: 'I7',
    file: 'shared/core/lease.ts',
    find: `  if (nowMs < lease.endsBootMs) {
    return { owned: true, epoch: lease.epoch, inGrace: false, endsBootMs: lease.endsBootMs };`,
    replace: `  if (nowMs < lease.endsBootMs + 600_000) {
    const endsBootMs = lease.endsBootMs + 600_000;
    return { owned: true, epoch: lease.epoch, inGrace: false, endsBootMs };`,
    seedsMax: 40,
  },
  {
    name: 'skip-the-owner-at-effects',
    about: 'an effect begins although its lease is lost, under the token of its attempt',
    promise: 'I7',
    file: 'dataplane/core/operation-steps.ts',
    find: '  if (ownership?.owned !== true) {',
    replace: `  if (ownership?.owned !== true && operation.attemptLeaseEpoch !== null)
    return { ok: true, epoch: operation.attemptLeaseEpoch, inGrace: false };
  if (ownership?.owned !== true) {`,
    seedsMax: 60,
  },
  {
    name: 'expire-over-an-open-effect',
    about: 'a deadline that passes over an unreported effect makes the operation expired',
    promise: 'I8',
    file: 'dataplane/core/operation-endings.ts',
    find: "if (mayHaveActed(operation)) return becomesUnknown(operation, 'deadline_passed', now);",
    replace: '',
    seedsMax: 60,
  },
  {
    name: 'accept-a-stale-attempt',
    about: 'an attempt that was taken over goes on as if it were the newest',
    promise: 'I9',
    file: 'dataplane/core/operation-steps.ts',
    find: 'if (attempt < operation.attempt)',
    replace: 'if (attempt < operation.attempt - 1_000)',
    seedsMax: 40,
  },
  {
    name: 'begin-an-effect-again',
    about: 'an effect that was begun and not reported is begun again, idempotent or not',
    promise: 'I9',
    file: 'dataplane/core/operation-steps.ts',
    find: "if (existing === undefined || existing.state === 'failed' || idempotent) return null;",
    replace: 'if (existing === undefined || existing.attempt > 0 || idempotent) return null;',
    seedsMax: 60,
  },
  {
    name: 'lost-worker-did-nothing',
    about: 'a worker that is lost in an effect is taken as having done nothing of it',
    promise: 'I8',
    file: 'dataplane/core/operation-endings.ts',
    find: 'unreported(operation).find(({ idempotent }) => !(idempotent && retries));',
    replace: 'unreported(operation).find(({ idempotent }) => idempotent && !retries);',
    seedsMax: 40,
  },
];
