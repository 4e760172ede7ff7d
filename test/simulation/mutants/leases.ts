/** Bugs of owners and their tokens: I6, I7. */
import type { Mutant } from './mutant.ts';

export const LEASE_MUTANTS: readonly Mutant[] = [
  {
    name: 'reuse-an-epoch',
    about: 'a resource is granted again under the epoch that it had',
    promise: 'I6',
    file: 'control/core/lease-sync.ts',
    find: 'const epoch = this.#highestEpoch + 1;',
    replace: 'const epoch = record?.epoch ?? this.#highestEpoch + 1;',
    seedsMax: 10,
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
    name: 'accept-a-stale-token',
    about: 'a token below the highest seen is accepted',
    promise: 'I6',
    file: 'shared/core/lease.ts',
    find: 'if (presentedEpoch < highest) return { accepted: false, highestEpoch: highest };',
    replace: '',
    seedsMax: 20,
  },
  {
    name: 'forget-fences-after-restart',
    about: 'the highest token of a resource is known only since the start',
    promise: 'I6',
    file: 'dataplane/journal/fence-table.ts',
    find: 'if (row === undefined) return null;',
    replace: 'if (row !== undefined || row === undefined) return null;',
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
    name: 'count-lease-from-the-reply',
    about: 'a holder counts its lease from when the answer came',
    promise: 'I7',
    file: 'dataplane/core/lease-book.ts',
    find: 'holderEndMs(times.sentAt.bootMs, ttlMs,',
    replace: 'holderEndMs(times.now.bootMs, ttlMs,',
    seedsMax: 10,
  },
  {
    name: 'no-drift-for-the-holder',
    about: 'a holder does not allow for the drift of its clock, nor for the margin',
    promise: 'I7',
    file: 'shared/core/lease.ts',
    find: 'return sentBootMs + Math.floor(ttlMs * (1 - drift)) - LEASE_MARGIN_MS;',
    replace: 'return sentBootMs + ttlMs;',
    seedsMax: 10,
  },
  {
    name: 'grantor-ends-early',
    about: 'control takes a lease as over before its holder does',
    promise: 'I7',
    file: 'control/core/lease-transition.ts',
    find: 'return grantorEndMs(0, terms.ttlMs, terms.drift);',
    replace: 'return grantorEndMs(0, terms.ttlMs, -10 * terms.drift);',
    seedsMax: 10,
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
    name: 'take-a-held-lease',
    about: 'whoever asks for a lease gets it, also while another holds it',
    promise: 'I7',
    file: 'control/core/lease-transition.ts',
    find: "if (record?.state === 'held' && !sameHolder(record.holder, asked.holder)) {",
    replace: "if (record?.state === 'released' && !sameHolder(record.holder, asked.holder)) {",
    seedsMax: 10,
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
];
