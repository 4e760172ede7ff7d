/** What every campaign is given, and what it gives back. */
import type { FailpointName } from '../../shared/platform/failpoints.ts';
import type { Checks } from './check/promise-checks.ts';
import type { Lie } from './check/lie.ts';
import type { FakeRandom } from '../fakes/fake-random.ts';
import type { Undo } from './undo.ts';

export type CampaignOptions = {
  /** Cycles, offsets or calls, as the campaign counts. */
  readonly cycles: number;
  /** Where counting begins, for a campaign that goes through cases in order. */
  readonly from: number;
  readonly seed: number;
  readonly random: FakeRandom;
  readonly undo: Undo;
  /** Ends the campaign after the cycle in which it passes. */
  readonly isOver: () => boolean;
  /** The account of the run, for people. */
  readonly say: (text: string) => void;
};

/** What broke the contract without being a lie: a wrong exit code, a start that failed. */
export type Breach = { readonly what: string; readonly detail: string };

export type CampaignReport = {
  readonly counts: Readonly<Record<string, number | string>>;
  /** What was done to the daemons, under names that all campaigns share. */
  readonly faults: Readonly<Record<string, number>>;
  /** How much was held against each promise. */
  readonly checks: Checks;
  readonly lies: readonly Lie[];
  readonly breaches: readonly Breach[];
  /** How often each named point of the code was reached, where the campaign counts them. */
  readonly failpoints?: Readonly<Record<FailpointName, number>>;
};

export type Campaign = {
  readonly name: string;
  readonly about: string;
  readonly cyclesAtFirst: number;
  /** Programs without which it cannot run. */
  readonly needs: readonly string[];
  readonly run: (options: CampaignOptions) => Promise<CampaignReport>;
};

/** This machine lacks what the campaign needs; nothing was found out. */
export class CannotRunHere extends Error {
  override name = 'CannotRunHere';
}
