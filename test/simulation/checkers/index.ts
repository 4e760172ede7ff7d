/** Every checker, by the promise that it is about, and what they make of a history together. */
import type { Checker, History, Promised, Verdict, Violation } from '../history.ts';
import { i01Durable } from './i01-durable.ts';
import { i02Once } from './i02-once.ts';
import { i03Authority } from './i03-authority.ts';
import { i04Fresh } from './i04-fresh.ts';
import { i05Staleness } from './i05-staleness.ts';
import { i06Fencing } from './i06-fencing.ts';
import { i07OneOwner } from './i07-one-owner.ts';
import { i08EveryEnd } from './i08-every-end.ts';
import { i09OneEffect } from './i09-one-effect.ts';
import { i10PlanesApart } from './i10-planes-apart.ts';
import { i11Revisions } from './i11-revisions.ts';
import { i12Reports } from './i12-reports.ts';

export const CHECKERS: Readonly<Record<Promised, Checker>> = {
  I1: i01Durable,
  I2: i02Once,
  I3: i03Authority,
  I4: i04Fresh,
  I5: i05Staleness,
  I6: i06Fencing,
  I7: i07OneOwner,
  I8: i08EveryEnd,
  I9: i09OneEffect,
  I10: i10PlanesApart,
  I11: i11Revisions,
  I12: i12Reports,
};

export type Judgement = {
  readonly verdicts: readonly Verdict[];
  readonly violations: readonly Violation[];
};

export function judge(history: History): Judgement {
  const verdicts = Object.values(CHECKERS).map((check) => check(history));
  return { verdicts, violations: verdicts.flatMap(({ violations }) => violations) };
}

/** How much each promise was held against in a whole campaign: 0 proves nothing, and is to be said. */
export class ChecksMade {
  readonly #checks = new Map<Promised, number>();

  add({ verdicts }: Judgement): void {
    for (const { promise, checks } of verdicts)
      this.#checks.set(promise, (this.#checks.get(promise) ?? 0) + checks);
  }

  rows(): { readonly promise: Promised; readonly checks: number }[] {
    return (Object.keys(CHECKERS) as Promised[]).map((promise) => ({
      promise,
      checks: this.#checks.get(promise) ?? 0,
    }));
  }

  /** Promises of which nothing was checked. */
  idle(): Promised[] {
    return this.rows().flatMap(({ promise, checks }) => (checks === 0 ? [promise] : []));
  }
}
