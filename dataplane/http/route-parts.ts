/** What the routes are given: built once, whatever transport asks. */
import type { Clock } from '../../shared/platform/clock.ts';
import type { OperationsRoutes } from '../../shared/platform/http/operations-routes.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Random } from '../../shared/platform/random.ts';
import type { Health } from '../../shared/wire/health.ts';
import type { Limits } from '../../shared/wire/limits.ts';
import type { OutageBudget, SidecarStatus } from '../../shared/wire/sidecar-api.ts';
import type { ConfigStreamEnd } from '../../shared/wire/config-value.ts';
import type { LeaseAuthority, RevisionArchive } from '../authority/authority-view.ts';
import type { ConfigValues } from '../authority/config-values.ts';
import type { LeaseTokens } from '../authority/lease-tokens.ts';
import type { Journal } from '../journal/journal.ts';
import type { Decisions } from '../operations/decisions.ts';
import type { Admissions } from '../operations/admissions.ts';
import type { Claims } from '../operations/claims.ts';
import type { Executions } from '../operations/executions.ts';
import type { Registers } from '../operations/registers.ts';
import type { Reconciler } from '../recovery/reconciler.ts';

export type Parts = {
  readonly admissions: Admissions;
  readonly decisions: Decisions;
  readonly executions: Executions;
  readonly claims: Claims;
  readonly registers: Registers;
  readonly reconciler: Pick<Reconciler, 'probeNow'>;
  readonly journal: Journal;
  readonly leases: LeaseAuthority;
  readonly revisions: RevisionArchive;
  readonly config: ConfigValues;
  readonly leaseTokens: Pick<LeaseTokens, 'token'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly version: string;
  readonly operations: OperationsRoutes;
  readonly budget: () => OutageBudget;
  readonly health: () => Health;
  readonly limits: () => Limits;
  readonly status: () => SidecarStatus;
  readonly onConfigStream: (fact: { open: number; cut?: ConfigStreamEnd }) => void;
  readonly onResponse: (fact: {
    method: string;
    route: string;
    status: number;
    seconds: number;
  }) => void;
};
