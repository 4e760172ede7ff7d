/**
 * Hosts that decide from cache, a control that keeps its timeline, and a truth that neither sees:
 * true time. Each host has a boot clock of its own rate and a wall clock that says anything; requests
 * take time; control's machine is started again with whatever its wall clock then says.
 */
import { scaleAt, onScale, type TimeScale } from '../../control/core/control-time.ts';
import { givenOutMs, type InForce, type Notice } from '../../control/core/authority-timeline.ts';
import {
  placeDecision,
  type Placed,
  type PlacingBounds,
} from '../../control/core/decision-instant.ts';
import { reevaluate, type Reevaluated } from '../../control/core/divergence.ts';
import { reportedDecision, type DecisionEntry } from '../../control/core/reported-decision.ts';
import {
  NO_ANCHORS,
  noteAnchor,
  type Anchor,
  type AnchorMemory,
  type Answered,
} from '../../control/core/sync-anchors.ts';
import { compilePolicy, decide, type CompiledPolicy } from '../../shared/core/policy.ts';
import type { Instant } from '../../shared/core/time.ts';
import { compileCel } from '../../shared/platform/cel.ts';
import type { NoticeKind } from '../../shared/wire/divergences.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';

/** What a document of this world says, so that an oracle can decide without the code under test. */
export type Terms = {
  readonly limit: number;
  readonly principals: readonly string[];
  readonly maxStalenessMs: number;
  readonly isFresh: boolean;
};

export type Decided = {
  readonly id: number;
  readonly hostId: string;
  readonly principal: string;
  readonly amount: number;
  readonly accepted: boolean;
  readonly stalenessMs: number;
  /** What was in force at the true moment: the oracle's own knowledge. */
  readonly truth: {
    readonly terms: Terms | null;
    readonly notices: readonly { readonly kind: NoticeKind; readonly subject: string }[];
  };
  readonly entry: DecisionEntry;
};

const APP = 'app-1';
const ACTION = 'payments.capture';

export class ModelHost {
  readonly hostId: string;
  readonly rate: number;
  #bootCount = 1;
  #bootAtMs: number;
  wallOffsetMs: number;
  /** The revision it runs, and when (on its boot clock) the sync was built that confirmed it. */
  revision: number | null = null;
  confirmedBootMs: number | null = null;
  isCut = false;
  seq = 0;
  answered: Answered = null;

  constructor(parts: { hostId: string; rate: number; wallOffsetMs: number; nowMs: number }) {
    this.hostId = parts.hostId;
    this.rate = parts.rate;
    this.wallOffsetMs = parts.wallOffsetMs;
    this.#bootAtMs = parts.nowMs - 10_000;
  }

  clock(trueMs: number): Instant {
    return {
      bootId: `${this.hostId}-${this.#bootCount}`,
      bootMs: Math.floor((trueMs - this.#bootAtMs) * this.rate),
      wallMs: Math.max(0, trueMs + this.wallOffsetMs),
    };
  }

  /** The machine: its boot clock begins anew, and its authority has no age any more. */
  reboot(trueMs: number): void {
    this.#bootCount += 1;
    this.#bootAtMs = trueMs;
    this.confirmedBootMs = null;
    this.answered = null;
  }

  /** The sidecar: what it has in memory is gone. */
  restart(): void {
    this.answered = null;
  }
}

export class DivergenceWorld {
  readonly hosts: readonly ModelHost[];
  readonly decided: Decided[] = [];
  readonly #documents = new Map<number, { terms: Terms; compiled: CompiledPolicy }>();
  readonly #entries: InForce[] = [];
  readonly #truth: { hostId: string | null; policyRevision: number }[] = [];
  readonly #notices: Notice[] = [];
  readonly #open = new Set<Notice>();
  readonly #kept = new Map<string, Map<number, Anchor>>();
  #memory = new Map<string, AnchorMemory>();
  readonly #scales: TimeScale[] = [];
  #nowMs = 1_000_000_000;
  #controlBoot = 1;
  #controlBootAtMs = this.#nowMs - 50_000;
  #controlWallOffsetMs = 0;
  #lastKnownMs = 0;
  #isUp = true;
  #newest = 0;
  readonly bounds: PlacingBounds;

  constructor(options: { readonly rates: readonly number[]; readonly bounds: PlacingBounds }) {
    this.bounds = options.bounds;
    this.hosts = options.rates.map(
      (rate, index) =>
        new ModelHost({
          hostId: `host_${index}`,
          rate,
          wallOffsetMs: (index - 1) * 86_400_000,
          nowMs: this.#nowMs,
        }),
    );
    this.#openScale();
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  pass(ms: number): void {
    this.#nowMs += ms;
  }

  /** Given to all hosts, or to some of them while the others keep what they have. */
  publish(terms: Terms, staged: readonly string[] | null): void {
    if (!this.#isUp) return;
    this.#newest += 1;
    const policyRevision = this.#newest;
    this.#documents.set(policyRevision, { terms, compiled: compiledOf(terms) });
    for (const hostId of staged ?? [null]) this.#putInForce(hostId, policyRevision);
  }

  complete(): void {
    if (this.#isUp && this.#newest > 0) this.#putInForce(null, this.#newest);
  }

  revoke(kind: NoticeKind, subject: string): void {
    if (!this.#isUp) return;
    const notice = {
      noticeId: `notice_${this.#notices.length + 1}`,
      kind,
      subject,
      reason: 'test',
      fromMs: this.#controlMs(),
      untilMs: null,
    };
    this.#notices.push(notice);
    this.#open.add(notice);
    this.pass(1);
  }

  lift(): void {
    const [notice] = this.#open;
    if (!this.#isUp || notice === undefined) return;
    this.#open.delete(notice);
    const lifted = { ...notice, untilMs: this.#controlMs() };
    this.#notices.splice(this.#notices.indexOf(notice), 1, lifted);
    this.pass(1);
  }

  /** The request takes `askMs`, its answer `answerMs`; one that is lost has been heard all the same. */
  sync(host: ModelHost, took: { askMs: number; answerMs: number; isLost: boolean }): void {
    if (host.isCut) return;
    // No host begins two of them within what its clock can tell.
    this.pass(3);
    const built = host.clock(this.#nowMs);
    const { seq, answered } = host;
    this.pass(took.askMs);
    if (!this.#isUp) return;
    this.#hear(host.hostId, built, { seq, answered });
    const told = this.#target(host.hostId);
    this.pass(took.answerMs);
    if (took.isLost) return;
    const now = host.clock(this.#nowMs);
    host.answered = { bootMs: built.bootMs, tookMs: now.bootMs - built.bootMs };
    host.revision = told;
    host.confirmedBootMs = built.bootMs;
  }

  decide(host: ModelHost, principal: string, amount: number): void {
    const policy = this.#documents.get(host.revision ?? 0);
    if (policy === undefined || host.revision === null || host.confirmedBootMs === null) return;
    const now = host.clock(this.#nowMs);
    const stalenessMs = now.bootMs - host.confirmedBootMs;
    const input = { principal, action: ACTION, attributes: { amount } };
    const decision = decide(policy.compiled, input);
    const { terms } = policy;
    // I4, I5: it would have asked control, or refused for its own age, which no policy decided.
    if (decision.rule !== null && (terms.isFresh || stalenessMs > terms.maxStalenessMs)) return;
    host.seq += 1;
    const id = this.decided.length;
    const accepted = decision.decision === 'permit';
    const facts = {
      policyRevision: host.revision,
      rule: decision.rule,
      basis: 'cached',
      stalenessMs,
    };
    const asked = { app: APP, principal, action: ACTION };
    const body = accepted
      ? {
          ...asked,
          ...facts,
          resource: { id: '', attributes: {} },
          attributes: { amount },
          deadlineAtMs: now.wallMs + 60_000,
          deadlineBoot: { bootId: now.bootId, bootMs: now.bootMs + 60_000 },
        }
      : {
          refusal: {
            ...asked,
            ...facts,
            resourceId: '',
            resourceAttributes: {},
            attributes: { amount },
            reason: decision.reason,
            message: decision.message,
            atBoot: { bootId: now.bootId, bootMs: now.bootMs },
          },
        };
    const { hostId, seq } = host;
    const kind = accepted ? 'admitted' : 'refused';
    const entry = { kind, hostId, seq, atMs: now.wallMs, body } as const;
    const inForce = this.#trueRevision(hostId);
    const truth = {
      terms: this.#documents.get(inForce ?? 0)?.terms ?? null,
      notices: [...this.#open],
    };
    this.decided.push({ id, hostId, principal, amount, accepted, stalenessMs, truth, entry });
    this.pass(1);
  }

  /** Its process, or its whole machine, which then shows what `wallOffsetMs` makes of the time. */
  restartControl(machine: { readonly wallOffsetMs: number } | null, downMs: number): void {
    if (!this.#isUp) return;
    this.#lastKnownMs = this.#controlMs();
    this.pass(downMs);
    this.#memory = new Map();
    if (machine !== null) {
      this.#controlBoot += 1;
      this.#controlBootAtMs = this.#nowMs - 1;
      this.#controlWallOffsetMs = machine.wallOffsetMs;
    }
    this.#openScale();
  }

  stopControl(): void {
    if (this.#isUp) this.#lastKnownMs = this.#controlMs();
    this.#isUp = false;
  }

  startControl(): void {
    if (this.#isUp) return;
    this.#isUp = true;
    this.#memory = new Map();
    this.#openScale();
  }

  /** As control does with what was reported, when all of it has arrived. */
  find(decided: Decided): { readonly placed: Placed; readonly found: Reevaluated } {
    const reported = reportedDecision(decided.entry);
    if (reported.kind !== 'decided') throw new Error(`it is ${reported.kind}`);
    const { recorded, moment } = reported;
    const entries = this.#entries.filter(
      ({ hostId }) => hostId === null || hostId === decided.hostId,
    );
    const placed = placeDecision(
      moment,
      {
        anchors: [...(this.#kept.get(decided.hostId)?.values() ?? [])],
        scales: this.#scales,
        givenOutMs: givenOutMs(entries, recorded.policyRevision),
        nowMs: this.#controlMs(),
      },
      this.bounds,
    );
    const policyOf = (revision: number) => this.#documents.get(revision)?.compiled ?? null;
    const timeline = { entries, notices: this.#notices };
    return { placed, found: reevaluate(recorded, timeline, placed, policyOf) };
  }

  /** Whether anything was put in force or taken out of it within the interval. */
  changesWithin({ fromMs, toMs }: Placed, hostId: string): boolean {
    const moments = [
      ...this.#entries.filter((one) => one.hostId === null || one.hostId === hostId),
      ...this.#notices.flatMap((one) => [{ atMs: one.fromMs }, { atMs: one.untilMs ?? -1 }]),
    ];
    return moments.some(({ atMs }) => atMs > fromMs && atMs <= toMs);
  }

  #hear(hostId: string, built: Instant, said: { seq: number; answered: Answered }): void {
    const { bootId, bootMs } = built;
    const heard = { heardMs: this.#controlMs(), seq: said.seq, clock: { bootId, bootMs } };
    const memory = this.#memory.get(hostId) ?? NO_ANCHORS;
    const noted = noteAnchor(memory, heard, said.answered);
    this.#memory.set(hostId, noted.memory);
    const kept = this.#kept.get(hostId) ?? new Map<number, Anchor>();
    for (const anchor of noted.toKeep) kept.set(anchor.heardMs, anchor);
    this.#kept.set(hostId, kept);
  }

  #putInForce(hostId: string | null, policyRevision: number): void {
    this.#entries.push({ atMs: this.#controlMs(), hostId, policyRevision, cause: 'published' });
    this.#truth.push({ hostId, policyRevision });
    this.pass(1);
  }

  #trueRevision(hostId: string): number | null {
    const newest = this.#truth.findLast((one) => one.hostId === null || one.hostId === hostId);
    return newest?.policyRevision ?? null;
  }

  #target(hostId: string): number | null {
    return this.#trueRevision(hostId);
  }

  #openScale(): void {
    const newest = this.#scales.at(-1) ?? null;
    const scale = scaleAt(newest, this.#lastKnownMs, this.#controlClock());
    if (scale !== newest) this.#scales.push(scale);
  }

  #controlMs(): number {
    const scale = this.#scales.at(-1);
    if (scale === undefined) throw new Error('control has not been started');
    return onScale(scale, this.#controlClock());
  }

  #controlClock(): Instant {
    return {
      bootId: `control-${this.#controlBoot}`,
      bootMs: this.#nowMs - this.#controlBootAtMs,
      wallMs: Math.max(0, this.#nowMs + this.#controlWallOffsetMs),
    };
  }
}

const compiled = new Map<string, CompiledPolicy>();

function compiledOf(terms: Terms): CompiledPolicy {
  const key = JSON.stringify(terms);
  const known = compiled.get(key);
  if (known !== undefined) return known;
  const document: PolicyDocument = {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: Object.fromEntries(terms.principals.map((name) => [name, { roles: ['agent'] }])),
    rules: [
      {
        name: 'capture',
        actions: [ACTION],
        permit: [{ expression: `attributes.amount <= ${terms.limit}` }],
        freshness: terms.isFresh ? 'fresh' : 'bounded',
        maxStaleness: `${terms.maxStalenessMs}ms`,
      },
    ],
  };
  const result = compilePolicy(document, compileCel);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  compiled.set(key, result.policy);
  return result.policy;
}
