/** The sidecar's HTTP API over a real journal and authority set by hand, without a network. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { assertNever } from '../../shared/core/assert.ts';
import { VERSION } from '../../shared/core/version.ts';
import { SystemClock } from '../../shared/platform/clock.ts';
import type { App } from '../../shared/platform/http/app.ts';
import { createLogger, type Logger } from '../../shared/platform/logger.ts';
import { SystemRandom } from '../../shared/platform/random.ts';
import { sidecarHealth } from '../../dataplane/health.ts';
import { ConfigValues } from '../../dataplane/authority/config-values.ts';
import type { GuardOptions } from '../../dataplane/http/guards.ts';
import type { Parts } from '../../dataplane/http/route-parts.ts';
import { buildSidecarApp } from '../../dataplane/http/sidecar-app.ts';
import type { Journal } from '../../dataplane/journal/journal.ts';
import { openJournal } from '../../dataplane/journal/open-journal.ts';
import { Admissions } from '../../dataplane/operations/admissions.ts';
import { Claims, type ClaimsParts } from '../../dataplane/operations/claims.ts';
import { Decisions } from '../../dataplane/operations/decisions.ts';
import { Approvals } from '../../dataplane/operations/approvals.ts';
import { Custodian } from '../../dataplane/operations/custodian.ts';
import { Executions } from '../../dataplane/operations/executions.ts';
import { Resume, type ResumeParts } from '../../dataplane/operations/resume.ts';
import { OperationWaits } from '../../dataplane/operations/operation-waits.ts';
import { Registers } from '../../dataplane/operations/registers.ts';
import { Heartbeats } from '../../dataplane/operations/heartbeats.ts';
import { NO_ALLOTMENTS, openLimits } from '../../dataplane/operations/open-limits.ts';
import type { FleetBudgets } from '../../dataplane/operations/limit-keeper.ts';
import { limitedRules } from '../../dataplane/core/active-policy.ts';
import type { Health } from '../../shared/wire/health.ts';
import type { SidecarStatus } from '../../shared/wire/sidecar-api.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { OutageAuthority } from '../../dataplane/authority/authority-view.ts';
import { tallyWork } from '../../dataplane/work-health.ts';
import type { Upstream } from '../../dataplane/upstream/build-upstream.ts';
import { FakeAuthority } from './fake-authority.ts';
import { testReconcilers, type TestReconcilers } from './test-reconcilers.ts';

export const APP_TOKEN = 'app-token-0123456789';
export const OPERATOR_TOKEN = 'operator-token-0123456789';

export type TestSidecar = TestReconcilers & {
  readonly app: App;
  readonly authority: FakeAuthority;
  readonly journal: Journal;
  readonly custodian: Custodian;
  readonly approvals: Approvals;
  readonly claims: Claims;
  readonly clock: Clock;
  readonly rejected: string[];
  close(): Promise<void>;
};

const OPERATIONS: Parts['operations'] = {
  live: () => [],
  ready: () => [{ name: 'policy', ok: true, detail: 'revision 1' }],
  started: () => [],
  expose: () => Promise.resolve({ contentType: 'text/plain', body: '' }),
};

const NO_BUDGET = {
  atMs: 0,
  policyRevision: 1,
  stalenessMs: 0,
  items: [],
  actions: [],
  config: [],
};

function appOfToken(token: string) {
  if (token === APP_TOKEN) return { name: 'demo', principals: ['agent:*'], operator: false };
  return token === OPERATOR_TOKEN ? { name: 'ops', principals: ['*'], operator: true } : null;
}

export async function openTestSidecar(
  options: {
    guard?: Partial<GuardOptions>;
    clock?: Clock;
    upstream?: Granted;
    fleet?: FleetBudgets;
    /** Kept after the end; default: one of its own. */
    directory?: string;
    logger?: Logger;
    resumeRate?: number;
  } = {},
): Promise<TestSidecar> {
  const directory = options.directory ?? mkdtempSync(`${tmpdir()}/sidecar-`);
  const { fleet = NO_ALLOTMENTS, clock = new SystemClock() } = options;
  const random = new SystemRandom();
  const logger = createLogger({ name: 'test', level: 'silent' });
  const authority = new FakeAuthority();
  const { policy, revisions, leases, fresh, outages } = options.upstream ?? grantedBy(authority);
  const journal = await openJournal(directory, clock);
  journal.useOutages(() => outages.outageId());
  const heartbeats = new Heartbeats();
  const { notices } = authority;
  const granted = { policy, notices, leases, fresh, outages };
  const executions = new Executions({ journal, ...granted, heartbeats, clock });
  const waits = new OperationWaits(clock);
  journal.onChange((operation) => waits.note(operation));
  const limiting = openLimits({ journal, clock, random, logger, fleet });
  const admissions = new Admissions({
    journal,
    ...limiting,
    ...granted,
    approvalsServed: () => authority.approvalsServed,
    clock,
    random,
    hostId: () => 'host_test',
    onDecision: () => undefined,
    onLimited: () => undefined,
  });
  const approvals = new Approvals({ journal, executions, ...granted, clock, random });
  const resume = testResume({ journal, executions, ...granted, clock, logger }, options.resumeRate);
  const kept = { journal, executions, heartbeats, resume, ...granted, clock, logger };
  const custodian = new Custodian({ ...kept, controlLossAfterMs: 1_000 });
  const { limits } = limiting;
  const settling = { journal, executions, admissions, limits, clock, random, logger };
  const reconcilers = testReconcilers(settling);
  const claims = claimsOver({ journal, executions, leases, clock });
  const status = (): SidecarStatus => statusOf(journal, authority);
  const parts: Parts = {
    admissions,
    decisions: new Decisions({
      ...granted,
      limits: limiting.limits,
      clock,
      logger: options.logger ?? logger,
      onDecision: () => undefined,
    }),
    executions,
    reconciler: reconcilers.reconciler,
    claims,
    resume,
    waits,
    webhooks: { list: () => [], retry: () => assertNever('there are none' as never) },
    registers: new Registers({ journal, leases, registersMax: 3 }),
    journal,
    leases,
    revisions,
    config: new ConfigValues({ policy, clock, onRead: () => undefined }),
    leaseTokens: { token: () => Promise.resolve(null) },
    clock,
    random,
    logger,
    version: VERSION,
    operations: OPERATIONS,
    budget: () => NO_BUDGET,
    health: () => healthOf({ journal, authority, clock }, status()),
    limits: () => limiting.limits.limits(limitedRules(authority.active)),
    status: () => statusOf(journal, authority),
    onConfigStream: () => undefined,
    onResponse: () => undefined,
  };
  const rejected: string[] = [];
  const app = await buildSidecarApp(parts, {
    transport: 'tcp',
    allowedHosts: [],
    tokens: appOfToken,
    onRejected: (reason) => rejected.push(reason),
    ...options.guard,
  });
  await app.ready();
  return {
    app,
    authority,
    journal,
    custodian,
    approvals,
    ...reconcilers,
    claims,
    clock,
    rejected,
    async close() {
      await app.close();
      await reconcilers.close();
      await journal.close();
      if (options.directory === undefined) rmSync(directory, { recursive: true });
    },
  };
}

function claimsOver(parts: Pick<ClaimsParts, 'journal' | 'executions' | 'leases' | 'clock'>) {
  return new Claims({
    ...parts,
    pause: () => Promise.resolve(),
    onClaim: () => undefined,
    onWaiting: () => undefined,
  });
}

/** What control has granted: as a test sets it by hand, or as the real upstream parts hold it. */
export type Granted = Pick<Upstream, 'policy' | 'revisions' | 'leases' | 'fresh'> & {
  readonly outages: OutageAuthority;
};

function grantedBy(authority: FakeAuthority): Granted {
  const { leases, outages } = authority;
  return { policy: authority, revisions: authority, leases, fresh: authority, outages };
}

function testResume(
  parts: Pick<
    ResumeParts,
    'journal' | 'executions' | 'policy' | 'notices' | 'fresh' | 'clock' | 'logger'
  >,
  ratePerSecond = 40,
): Resume {
  const pause = (): Promise<void> => Promise.resolve();
  return new Resume({ ...parts, ratePerSecond, pause, onResumed: () => undefined });
}

function statusOf(journal: Journal, authority: FakeAuthority): SidecarStatus {
  return {
    hostId: 'host_test',
    hostName: 'test',
    version: VERSION,
    control: {
      url: 'http://127.0.0.1:1',
      state: authority.outage === null ? 'connected' : 'disconnected',
      lastAttemptMs: null,
      lastSuccessMs: null,
      lastError: null,
      outage: authority.outage,
    },
    policy: {
      activeRevision: 1,
      digest: 'd',
      activatedAtMs: 0,
      stalenessMs: authority.staleness,
      rejected: null,
    },
    leases: { held: authority.held.size, wanted: 0 },
    journal: {
      ...journal.head(),
      ackedSeq: journal.ackedSeq(),
      operations: { ...journal.operationCounts() },
    },
  };
}

function healthOf(
  { journal, authority, clock }: Pick<TestSidecar, 'journal' | 'authority' | 'clock'>,
  status: SidecarStatus,
): Health {
  return sidecarHealth({
    status,
    work: tallyWork(journal, clock.now()),
    expiredConfig: { count: 0, of: 0 },
    revoked: authority.revocation?.reason ?? null,
    staleRules: { bounded: 1, expired: 0 },
    reportsStopped: null,
    quarantine: journal.quarantine,
    isReadOnly: journal.isReadOnly,
    notices: { inForce: 0, isUnknown: false },
    queueLength: 0,
    writeWait: { ms: journal.expectedWaitMs(), isShedding: journal.isShedding() },
    disk: { pressure: 'ample', detail: 'not watched here', sinceMs: null },
    nowMs: clock.now().wallMs,
  });
}
