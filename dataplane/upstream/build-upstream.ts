/** Puts together everything of the sidecar that talks to control, and what control has granted. */
import { join } from 'node:path';
import type { Transport } from '../../shared/client/transport.ts';
import type { ExpressionCompiler } from '../../shared/core/policy.ts';
import type { Instant } from '../../shared/core/time.ts';
import type { Steps } from '../../shared/core/steps.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import { makeDirectory } from '../../shared/platform/durable-file.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { LoopUse } from '../../shared/platform/loop-use.ts';
import {
  checkPolicySteps,
  checkPublishedPolicySteps,
  type PolicyCheck,
} from '../../shared/platform/policy-gate.ts';
import type { Pause } from '../../shared/platform/slices.ts';
import { randomText, type Random } from '../../shared/platform/random.ts';
import type { Task } from '../../shared/platform/task-group.ts';
import type { Labels } from '../../shared/wire/rollout.ts';
import type { HostHealth } from '../../shared/wire/fleet-health.ts';
import type { SidecarStatus } from '../../shared/wire/sidecar-api.ts';
import type {
  FreshAuthority,
  LeaseAuthority,
  OutageAuthority,
  PolicyAuthority,
  RevisionArchive,
} from '../authority/authority-view.ts';
import { AllotmentKeeper, allotmentFile } from '../authority/allotment-keeper.ts';
import { HostIdentity, type EnrolledHost } from '../authority/identity.ts';
import { KeptRevisions } from '../authority/kept-revisions.ts';
import { NoticeKeeper } from '../authority/notice-keeper.ts';
import { LeaseKeeper } from '../authority/lease-keeper.ts';
import { LeaseTokens } from '../authority/lease-tokens.ts';
import { PolicyKeeper } from '../authority/policy-keeper.ts';
import type { JournalFeed } from '../journal/journal-feed.ts';
import { limitedRules, longestDeadlineOf } from '../core/active-policy.ts';
import type { AuthorityAt } from '../core/outage-interval.ts';
import { OutageTracker, type OutageChange } from '../recovery/outage-tracker.ts';
import { ApprovalInbox } from './approval-inbox.ts';
import { BundlePoller } from './bundle-poller.ts';
import { ControlLink } from './control-link.ts';
import { checkJoinToken, enrol } from './enrolment.ts';
import { FreshDecider } from './fresh-decider.ts';
import type { JoinToken } from './join-token.ts';
import { Reach } from './reach.ts';
import { Reporter } from './reporter.ts';
import { SelfReport, type DecidedFact } from './self-report.ts';
import { Synchronizer } from './synchronizer.ts';
import type { UpstreamMetrics } from './upstream-metrics.ts';

export type UpstreamConfig = {
  readonly controlUrl: string;
  readonly hostName: string;
  readonly joinToken?: string;
  readonly syncIntervalMs: number;
  readonly requestTimeoutMs: number;
  readonly freshTimeoutMs: number;
  readonly bundleWaitMs: number;
  readonly labels?: Labels;
};

export type UpstreamOptions = {
  readonly dataDir: string;
  readonly config: UpstreamConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: UpstreamMetrics;
  readonly journalFeed: JournalFeed;
  /** Resolves when all that was handed to the journal before is on disk. */
  readonly settled: () => Promise<unknown>;
  readonly transport: Transport;
  readonly compile: ExpressionCompiler;
  readonly pause: Pause;
  readonly loopUse: LoopUse;
};

/** Enough to tell one process of a host from the next. */
const PROCESS_ID_BYTES = 9;

export type Upstream = {
  readonly policy: PolicyAuthority;
  readonly revisions: RevisionArchive;
  readonly leases: LeaseAuthority;
  readonly allotments: AllotmentKeeper;
  readonly leaseTokens: LeaseTokens;
  readonly approvals: ApprovalInbox;
  readonly notices: NoticeKeeper;
  readonly fresh: FreshAuthority;
  readonly outages: OutageAuthority & { onChange(listener: (change: OutageChange) => void): void };
  readonly tasks: readonly Task[];
  /**
   * Loads what is on disk. Needs nothing of control; throws a `StartError` only where a person must
   * act.
   */
  open(): Promise<void>;
  status(): SidecarStatus['control'];
  /** Why reports no longer go up; `null` while they do. */
  reportsStopped(): string | null;
  /** Counted by revision, and told to control with the next sync. */
  noteDecision(fact: DecidedFact): void;
  /** What this host says of its work with each sync that control asks for it. */
  useHealth(read: () => HostHealth): void;
  /** Told of operations that a person has revoked, with each answer that names them. */
  onStop(listener: (operationIds: readonly string[]) => void): void;
  /** `null` until the host is enrolled. */
  identity(): EnrolledHost | null;
};

/** All gates of this build, and those for what it has had in force. */
function policyChecks(compile: ExpressionCompiler) {
  return {
    checkPolicy: (value: unknown): Steps<PolicyCheck> => checkPolicySteps(value, compile),
    checkKept: (value: unknown): Steps<PolicyCheck> => checkPublishedPolicySteps(value, compile),
  };
}

function authorityOf(policy: PolicyKeeper): (now: Instant) => AuthorityAt {
  return (now) => ({
    policyRevision: policy.activePolicy()?.policyRevision ?? null,
    stalenessMs: policy.stalenessMs(now),
  });
}

function selfReport({ labels = {} }: UpstreamConfig, random: Random): SelfReport {
  return new SelfReport({ labels, processId: randomText(random, PROCESS_ID_BYTES) });
}

type FreshParts = Pick<UpstreamOptions, 'clock' | 'metrics'> & {
  readonly link: ControlLink;
  readonly policy: PolicyKeeper;
  readonly outages: OutageTracker;
  readonly kick: () => void;
};

function freshDecider(parts: FreshParts, { freshTimeoutMs }: UpstreamConfig): FreshDecider {
  const { clock, metrics, link, policy, outages, kick } = parts;
  return new FreshDecider({
    link,
    clock,
    metrics,
    timeoutMs: freshTimeoutMs,
    highWaterRevision: () => policy.highWaterRevision(),
    onUnreachable: async (failure) => {
      await outages.callFailed(failure);
      kick();
    },
    onAnswer: () => {
      if (outages.current() !== null) kick();
    },
  });
}

export function buildUpstream(options: UpstreamOptions): Upstream {
  const { clock, random, logger, metrics, config, transport } = options;
  const { controlUrl, hostName, joinToken, syncIntervalMs, requestTimeoutMs } = config;
  const feed = options.journalFeed;
  const directory = join(options.dataDir, 'authority');
  const base = { clock, random, logger, metrics };

  const identity = new HostIdentity({ dataDir: options.dataDir, hostName, logger, random });
  const link = new ControlLink({ transport, identity, clock, random, requestTimeoutMs });
  const reach = new Reach();
  const { pause, loopUse } = options;
  const exchange = { ...base, link, feed, reach };
  const { checkPolicy, checkKept } = policyChecks(options.compile);
  const checks = { checkPolicy, checkKept, pause };
  const policy = new PolicyKeeper({ ...base, directory, identity, feed, ...checks });
  const leases = new LeaseKeeper({ ...base, directory });
  const allotments = new AllotmentKeeper({
    ...base,
    file: allotmentFile(directory),
    deadlineMs: longestDeadlineOf(() => policy.activePolicy()),
    hasFleetRules: () =>
      limitedRules(policy.activePolicy()).some(({ limits }) => limits.scope === 'fleet'),
  });
  const outages = new OutageTracker({ ...base, feed, authority: authorityOf(policy) });
  const kick = (): void => synchronizer.kick();
  const leaseTokens = new LeaseTokens({ clock, leases, kick });
  const approvals = new ApprovalInbox({ ...base, identity });
  const { settled } = options;
  const notices = new NoticeKeeper({ ...base, directory, identity, settled });
  const reporter = new Reporter({ ...exchange, pause, loopUse, askPosition: kick });
  const timing = { clock, random, waitMs: config.bundleWaitMs };
  const poller = new BundlePoller({
    ...timing,
    link,
    policy,
    reach,
    onOutcome: kick,
    notices,
  });
  const self = selfReport(config, random);
  const enrolment = { ...base, identity, link, hostName, controlUrl, joinToken };
  let token: JoinToken | null = null;
  let stop: (operationIds: readonly string[]) => void = () => {};
  const synchronizer = new Synchronizer({
    ...exchange,
    policy,
    leases,
    allotments,
    leaseTokens,
    approvals,
    notices,
    outages,
    self,
    controlUrl,
    syncIntervalMs,
    enrol: async (hooks) => {
      if (token === null) return;
      await enrol(enrolment, token, hooks);
      if (identity.enrolled !== null) await policy.enrolled();
    },
    onPosition: (position) => reporter.notePosition(position),
    onStop: (operationIds) => stop(operationIds),
    onAnswer: () => poller.noteAnswer(),
  });
  leases.onKick(kick);
  allotments.onKick(kick);
  const fresh = freshDecider({ ...base, link, policy, outages, kick }, config);

  return {
    policy,
    revisions: new KeptRevisions({ directory, identity, policy, checkPolicy: checkKept, pause }),
    leases,
    allotments,
    leaseTokens,
    approvals,
    notices,
    fresh,
    outages,
    tasks: [synchronizer.task, poller.task, reporter.task, leases.task, approvals.task],
    async open() {
      makeDirectory(options.dataDir);
      makeDirectory(directory);
      await identity.open();
      token = checkJoinToken(enrolment);
      await policy.open();
      leases.open();
      notices.open();
      allotments.open();
      await outages.open();
    },
    status: () => synchronizer.status(),
    reportsStopped: () => reporter.stopped(),
    noteDecision: (fact) => self.note(fact),
    useHealth: (read) => self.useHealth(read),
    onStop: (listener) => void (stop = listener),
    identity: () => identity.enrolled,
  };
}
