/**
 * I5: bounded staleness is bounded.
 *
 * S1  Nobody says that its authority is younger than the sync that was sent last, among those that
 *     were answered: not a record, not a config value, not a host of itself.
 * S2  What was decided from cache was within `maxStaleness` of its rule.
 * S3  A config value that is past its `maxStaleness` is served as what `onExpiry` says, and as
 *     nothing else; the arithmetic is done again here.
 */
import { canonicalJson } from '../../../shared/core/canonical-json.ts';
import { SECOND_MS, type Instant } from '../../../shared/core/time.ts';
import { configEntries, readConfig } from '../../../dataplane/core/config-value.ts';
import type { ConfigValue } from '../../../shared/wire/config-value.ts';
import type { Checker, NodeName } from '../history.ts';
import { eventsOf } from '../history-view.ts';
import { decidedIn, nameOf, seqsOf } from './decided.ts';
import { Findings } from './findings.ts';
import { bootElapsedMs, faultsDuring, newestSync, worldOf, type World } from './world.ts';

/** Both ends are rounded. */
const ROUNDING_MS = 2;
/** Between the reading of the authority and the moment that a record is dated by. */
const DECIDING_MS = 3 * SECOND_MS;

export const i05Staleness: Checker = (history) => {
  const world = worldOf(history);
  const findings = new Findings('I5');
  checkHosts(world, findings);
  checkRecords(world, findings);
  checkConfig(world, findings);
  return findings.verdict();
};

type Claim = {
  readonly host: NodeName;
  /** By the clock of the host when it was said, or later by at most `slackMs`. */
  readonly clock: Instant;
  readonly atMs: number;
  readonly beforeSeq: number;
  readonly slackMs: number;
};

/** The least age that authority can have had; `null` where no clock tells. */
function leastAgeMs(world: World, claim: Claim): number | null {
  const sync = newestSync(world, claim.host, claim.beforeSeq);
  if (sync === null) return null;
  const bootMs = bootElapsedMs(sync.sent.clock, claim.clock);
  if (bootMs !== null) return Math.floor(bootMs - claim.slackMs);
  // After a reboot the wall clock tells, as long as nobody has set it.
  const at = { node: claim.host, fromMs: sync.sent.atMs, toMs: claim.atMs };
  if (faultsDuring(world, at, ['wall_step', 'clock_jump', 'suspend']).length > 0) return null;
  const wallMs = claim.clock.wallMs - sync.sent.clock.wallMs;
  const { drift } = world.history.terms;
  const trueMs = (claim.atMs - sync.sent.atMs) * (1 - 2 * drift);
  return Math.floor(Math.min(wallMs, trueMs) - claim.slackMs) - SECOND_MS;
}

/** S1. */
function checkHosts(world: World, findings: Findings): void {
  for (const state of eventsOf(world.history, 'host_state')) {
    const { host, clock, stalenessMs, atMs, seq } = state;
    if (stalenessMs === null) continue;
    const leastMs = leastAgeMs(world, { host, clock, atMs, beforeSeq: seq, slackMs: ROUNDING_MS });
    const sync = newestSync(world, host, seq);
    findings.expect(
      sync !== null && (leastMs === null || stalenessMs >= leastMs),
      () =>
        `${host} says that its authority is ${stalenessMs} ms old, and the last sync that was answered was sent ${leastMs} ms before`,
      () => [sync?.sent.seq ?? null, sync?.answered.seq ?? null, seq],
    );
  }
}

/** S1, S2. */
function checkRecords(world: World, findings: Findings): void {
  for (const decided of decidedIn(world)) {
    const { operation, life, answered, at } = decided;
    if (operation.basis !== 'cached') continue;
    const { policyRevision, rule, stalenessMs } = operation;
    const maxStalenessMs = world.policies.termsOf(policyRevision, rule)?.maxStalenessMs;
    findings.expect(
      maxStalenessMs === undefined || stalenessMs <= maxStalenessMs,
      () =>
        `${nameOf(decided)} was decided from cache ${stalenessMs} ms old, and rule ${rule} allows ${maxStalenessMs} ms`,
      () => seqsOf(decided),
    );
    if (answered === null) continue;
    const { atMs, seq } = answered.ended;
    const claim = { host: life.host, clock: at, atMs, beforeSeq: seq, slackMs: DECIDING_MS };
    const leastMs = leastAgeMs(world, claim);
    findings.expect(
      leastMs === null || stalenessMs >= leastMs,
      () =>
        `${nameOf(decided)} says that it was decided from cache ${stalenessMs} ms old, and it was at least ${leastMs} ms old`,
      () => [newestSync(world, life.host, seq)?.sent.seq ?? null, ...seqsOf(decided)],
    );
  }
}

/** S1, S3. */
function checkConfig(world: World, findings: Findings): void {
  for (const { request, to, sent, ended } of world.calls) {
    if (request.kind !== 'config_value' || ended?.end.kind !== 'ok') continue;
    const value = ended.end.body as ConfigValue;
    const { stalenessMs, policyRevision } = value;
    const said = expectedOf(world, value, ended.clock);
    findings.expect(
      said === null || said.length === 0 || said.includes(shownOf(value)),
      () =>
        `${to} served config value ${request.name} as ${shownOf(value)}, and at ${stalenessMs} ms revision ${policyRevision} says ${said?.[0]}`,
      () => [sent.seq, ended.seq],
    );
    if (value.expired || stalenessMs === null) continue;
    // It may have been read at any moment of the call, when it was younger by that.
    const { atMs, clock, seq } = ended;
    const slackMs = (atMs - sent.atMs) * (1 + 2 * world.history.terms.drift) + ROUNDING_MS;
    const leastMs = leastAgeMs(world, { host: to, clock, atMs, beforeSeq: seq, slackMs });
    const isStalled = faultsDuring(world, { node: to, fromMs: sent.atMs, toMs: atMs }, [
      'suspend',
      'clock_jump',
      'clock_drift',
    ]);
    findings.expect(
      leastMs === null || isStalled.length > 0 || leastMs <= value.maxStalenessMs,
      () =>
        `${to} served config value ${request.name} as good at an age of at least ${leastMs} ms: it allows ${value.maxStalenessMs} ms`,
      () => [newestSync(world, to, seq)?.sent.seq ?? null, sent.seq, ended.seq],
    );
  }
}

/** By the age that the answer itself names. */
function expectedOf(world: World, value: ConfigValue, now: Instant): string[] | null {
  const { key, policyRevision, stalenessMs, reason } = value;
  const documents = world.policies.of(policyRevision);
  if (documents.length === 0) return null;
  return documents.flatMap(({ document }) => {
    const entry = configEntries(document.config).find((one) => one.key === key);
    if (entry === undefined) return [];
    const isRevoked = reason === 'authority_revoked';
    return [shownOf(readConfig(entry, { stalenessMs, isRevoked, now }))];
  });
}

function shownOf({ value, source, expired }: Pick<ConfigValue, 'value' | 'source' | 'expired'>) {
  return `${source}${expired ? ', expired,' : ','} ${canonicalJson(value ?? null)}`;
}
