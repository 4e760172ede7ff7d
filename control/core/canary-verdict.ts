/**
 * Whether the hosts that try a revision are in trouble (I11). Kinds in order of precedence:
 *
 * V1  `rejected`: one host refused it. A document that one sidecar cannot apply is tried on no
 *     other.
 * V2  `crashed`: one sidecar died twice while putting it in force; or too many of them started
 *     again `RESTARTS_MAX` times or more since they were offered it.
 * V3  `silent`: too many have not been heard for long since they were offered it, while most of the
 *     other hosts are heard. When nobody is heard it is not the revision.
 * V4  `refusals`: they refuse clearly more than they did under the revision before
 *     (`refusal-ratio.ts`).
 *
 * Too many: one of up to ten, then a tenth. Of thousands of machines some are always being
 * restarted.
 */
import type { HostFacts } from './host-facts.ts';
import { Z_ALL, Z_ONE, addShares, refusesMore, type Share } from './refusal-ratio.ts';

export const DEATHS_MAX = 2;
export const RESTARTS_MAX = 3;

export type Trial = {
  readonly hostId: string;
  readonly hostName: string;
  readonly facts: HostFacts;
  /** Since this run of control last heard of it. */
  readonly silentMs: number;
};

export type Trouble = {
  readonly kind: 'rejected' | 'crashed' | 'silent' | 'refusals';
  readonly hostNames: readonly string[];
  readonly detail: string;
};

export function judgeTrials(
  revisions: { readonly candidate: number; readonly base: number },
  trials: readonly Trial[],
  others: { readonly hosts: number; readonly silent: number },
  silentAfterMs: number,
): Trouble | null {
  const { candidate, base } = revisions;
  const tooMany = Math.max(1, Math.ceil(trials.length / 10));
  const named = (hosts: readonly Trial[]): string[] => hosts.map(({ hostName }) => hostName);

  const rejecting = trials.filter(({ facts }) => facts.rejected?.policyRevision === candidate);
  const first = rejecting[0];
  if (first !== undefined) {
    const detail = `host ${first.hostName} could not apply it: ${first.facts.rejected?.reason ?? ''}`;
    return { kind: 'rejected', hostNames: named(rejecting), detail };
  }

  const dying = trials.filter(
    ({ facts: { deaths } }) => deaths?.policyRevision === candidate && deaths.deaths >= DEATHS_MAX,
  );
  if (dying.length > 0) {
    const detail = `the sidecar of host ${named(dying)[0]} ended ${DEATHS_MAX} times while putting it in force`;
    return { kind: 'crashed', hostNames: named(dying), detail };
  }
  const offered = trials.filter(({ facts }) => facts.offered?.policyRevision === candidate);
  const restarting = offered.filter(({ facts }) => (facts.offered?.restarts ?? 0) >= RESTARTS_MAX);
  if (restarting.length >= tooMany) {
    const detail = `the sidecar of host ${named(restarting)[0]} started again ${RESTARTS_MAX} times since it was offered it`;
    return { kind: 'crashed', hostNames: named(restarting), detail };
  }

  const silent = offered.filter(({ silentMs }) => silentMs >= silentAfterMs);
  const isOnlyThem = others.silent * 2 <= others.hosts;
  if (silent.length >= tooMany && isOnlyThem) {
    const detail = `host ${named(silent)[0]} has not been heard since it was offered it`;
    return { kind: 'silent', hostNames: named(silent), detail };
  }
  return judgeRefusals(trials, candidate, base);
}

/** V4: hosts that have decided under both, against themselves. */
function judgeRefusals(trials: readonly Trial[], candidate: number, base: number): Trouble | null {
  const compared = trials.flatMap(({ hostName, facts }) => {
    const [before, after] = [shareOf(facts, base), shareOf(facts, candidate)];
    return before === null || after === null ? [] : [{ hostName, before, after }];
  });
  const all = {
    before: addShares(compared.map(({ before }) => before)),
    after: addShares(compared.map(({ after }) => after)),
  };
  if (refusesMore(all.before, all.after, Z_ALL)) {
    const hostNames = compared.map(({ hostName }) => hostName);
    const detail = `its hosts refuse ${percent(all.after)} of requests, ${percent(all.before)} under revision ${base}`;
    return { kind: 'refusals', hostNames, detail };
  }
  const one = compared.find(({ before, after }) => refusesMore(before, after, Z_ONE));
  if (one === undefined) return null;
  const detail = `host ${one.hostName} refuses ${percent(one.after)} of requests, ${percent(one.before)} under revision ${base}`;
  return { kind: 'refusals', hostNames: [one.hostName], detail };
}

function shareOf({ tallies }: HostFacts, policyRevision: number): Share | null {
  const tally = tallies.find((one) => one.policyRevision === policyRevision);
  if (tally === undefined) return null;
  const { admitted, refused } = tally;
  return { decisions: admitted + refused, refused };
}

const percent = ({ decisions, refused }: Share): string =>
  `${((refused * 100) / Math.max(1, decisions)).toFixed(1)}% (${refused} of ${decisions})`;
