/**
 * What an app imports to have its work accepted and carried to an end by the sidecar of its host.
 *
 * Three things can come of a call, and they mean different things:
 *
 * - It returns: what it says is on disk (promise I1).
 * - It throws `ProblemError`: the sidecar said no, and `code` says why. It did not happen; only
 *   `outcome_unknown` leaves that open.
 * - It throws `UnreachableError`: no answer came. **That is not a failure of the request.** It may
 *   or may not have been acted upon. Ask again with the same key, or read the operation; never
 *   conclude.
 */
import { assert } from '../core/assert.ts';
import { backoffDelayMs, type BackoffPolicy } from '../core/backoff.ts';
import { SystemClock, type Clock } from '../platform/clock.ts';
import { SystemRandom, type Random } from '../platform/random.ts';
import type { DecisionAnswer } from '../wire/decision.ts';
import type { DecisionInput } from '../wire/policy-document.ts';
import type { Health } from '../wire/health.ts';
import type { Limits } from '../wire/limits.ts';
import type {
  AdmitRequest,
  Operation,
  OperationState,
  Outage,
  Refusal,
} from '../wire/operation.ts';
import { REQUEST_HEADER } from '../wire/sidecar-api.ts';
import type { Register, RegisterSummary } from '../wire/register-api.ts';
import type {
  Attempt,
  EffectAnswer,
  Explanation,
  Fence,
  Heartbeat,
  HeldLeaseView,
  OutageBudget,
  SidecarLeaseToken,
  SidecarStatus,
} from '../wire/sidecar-api.ts';
import type { Recovery, RecoveryList, RecoveryPage } from '../wire/recovery-api.ts';
import { WebhookClient } from './webhook-client.ts';
import { ConfigClient } from './config-client.ts';
import { Holdfast, type HoldfastOptions } from './holdfast.ts';
import { JsonCaller, parseEndpoint } from './json-caller.ts';
import {
  attemptPath,
  effectPath,
  operationPath,
  type OneAttempt,
  type OneEffect,
} from './operation-paths.ts';
import { guardHeaders, registerPath, type RegisterGuard } from './register-request.ts';
import { ResumeClient } from './resume-client.ts';
import { ProblemError } from './problem-error.ts';
import { ReconciliationClient } from './reconciliation-client.ts';
import { UndiciTransport, UnreachableError, type Transport } from './transport.ts';

export type SidecarClientOptions = {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly token: () => string | null;
  /** Of one request, unless the call says otherwise. */
  readonly timeoutMs: number;
};

export type SidecarAddress = {
  /** `http://127.0.0.1:7490`, or `unix:/run/holdfast/sidecar.sock`. */
  readonly endpoint: string;
  /** The app's bearer token, or a function that reads it, for tokens that are rotated in place. */
  readonly token: string | (() => string | null);
  /** Of one request; 10 s where it is not given. */
  readonly timeoutMs?: number;
};

/** A page of a listing; ask again with `nextCursor` until it is `null`. */
export type Page<T> = { readonly items: readonly T[]; readonly nextCursor: string | null };

export type Admitted = {
  readonly operation: Operation;
  /** The key was known: this is the operation that it named before, perhaps long since ended. */
  readonly replayed: boolean;
};

export type AdmitOptions = {
  /**
   * Names this piece of work for good: derive it from the work (an order number, a message id), and
   * store it before the first call. The same key brings back the same operation, whatever happened
   * in between.
   */
  readonly idempotencyKey: string;
  /**
   * How long to go on asking, with the same key, while the answer is retryable or none comes; by
   * default the question is put once. The bound is on starting another try; one that runs has its
   * own time-out.
   */
  readonly retryForMs?: number;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
};

export type ReportedResult = {
  readonly outcome: 'succeeded' | 'failed' | 'unknown';
  readonly result?: unknown;
};

const ADMIT_BACKOFF: BackoffPolicy = { baseMs: 100, maxMs: 5_000 };
const TIMEOUT_MS = 10_000;

const LEASE_WAIT_MS = 5_000;

/**
 * Longest that `acquireLease` waits beyond the sidecar's own wait before it takes silence for
 * silence.
 */
const LEASE_ANSWER_MS = 5_000;

/** A client with the system's clock, randomness and network. Close it when the app stops. */
export function openSidecar(address: SidecarAddress): SidecarClient {
  const target = parseEndpoint(address.endpoint);
  if (target === null) {
    throw new TypeError(
      `${address.endpoint} is not an address of a sidecar: use http://host:port or unix:/path`,
    );
  }
  const { token } = address;
  return new SidecarClient({
    transport: new UndiciTransport(target),
    clock: new SystemClock(),
    random: new SystemRandom(),
    token: typeof token === 'function' ? token : () => token,
    timeoutMs: address.timeoutMs ?? TIMEOUT_MS,
  });
}

export class SidecarClient {
  readonly config: ConfigClient;
  readonly reconciliations: ReconciliationClient;
  readonly resume: ResumeClient;
  readonly webhooks: WebhookClient;
  readonly #caller: JsonCaller;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #options: SidecarClientOptions;

  constructor(options: SidecarClientOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#caller = new JsonCaller({
      transport: options.transport,
      token: options.token,
      headers: { [REQUEST_HEADER]: '1' },
      timeoutMs: options.timeoutMs,
    });
    const { clock, random } = options;
    this.resume = new ResumeClient(this.#caller);
    this.webhooks = new WebhookClient(this.#caller);
    this.config = new ConfigClient({ caller: this.#caller, clock, random });
    const { timeoutMs } = options;
    this.reconciliations = new ReconciliationClient({ caller: this.#caller, timeoutMs });
  }

  /** Work by runs, recorded effects and workers, over the same connections: this one closes them. */
  holdfast(options: Pick<HoldfastOptions, 'patience'> = {}): Holdfast {
    return new Holdfast({ ...this.#options, ...options }, this.#options);
  }

  /**
   * Asks for work to be accepted. When it returns, the operation is durable and will come to an
   * end.
   *
   * When it throws `UnreachableError` (or `outcome_unknown`), the operation may have been accepted:
   * call again with the same key before doing anything else about it. Any other `ProblemError`
   * means that it was not accepted by this call and that the key is still free: `denied`,
   * `no_rule`, `control_unreachable`…
   */
  async admit(request: AdmitRequest, options: AdmitOptions): Promise<Admitted> {
    const startedMs = this.#clock.now().bootMs;
    const retryForMs = options.retryForMs ?? 0;
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.#admitOnce(request, options);
      } catch (error) {
        const askedForMs = retryDelayAskedForMs(error);
        if (askedForMs === null || options.signal?.aborted) throw error;
        const delayMs = Math.max(
          askedForMs,
          backoffDelayMs(failures, ADMIT_BACKOFF, this.#random.unit()),
        );
        if (this.#clock.now().bootMs - startedMs + delayMs >= retryForMs) throw error;
        await this.#clock.sleep(delayMs, options.signal);
        if (options.signal?.aborted) throw error;
      }
    }
  }

  async #admitOnce(request: AdmitRequest, options: AdmitOptions): Promise<Admitted> {
    const { status, headers, body } = await this.#caller.call<Operation>({
      method: 'POST',
      path: '/v1/operations',
      headers: { 'idempotency-key': options.idempotencyKey },
      body: request,
      signal: options.signal,
      ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    });
    return {
      operation: body,
      replayed: status === 200 || headers['idempotency-replayed'] === 'true',
    };
  }

  /**
   * What would become of the work if it were asked for now: nothing is recorded, and nothing is
   * promised.
   */
  decide(
    input: DecisionInput,
    options: { readonly isExplained?: boolean } = {},
  ): Promise<DecisionAnswer> {
    return this.#caller.body({
      method: 'POST',
      path: '/v1/decisions',
      query: { explain: options.isExplained === true ? 'true' : undefined },
      body: input,
    });
  }

  /**
   * The record as it is now. `unknown` is an honest state: it says that nobody knows, not that it
   * failed.
   */
  operation(operationId: string): Promise<Operation> {
    return this.#get(operationPath(operationId));
  }

  /**
   * The same, once it waits for no approval any more, or has ended, or after `waitMs` (at most a
   * minute): look at its state, and ask again.
   */
  waitForOperation(
    operationId: string,
    options: { readonly until: 'decided' | 'ended'; readonly waitMs: number },
  ): Promise<Operation> {
    const { until, waitMs } = options;
    return this.#caller.body({
      method: 'GET',
      path: operationPath(operationId),
      query: { until, wait: `${waitMs}ms` },
      timeoutMs: waitMs + LEASE_ANSWER_MS,
    });
  }

  operations(
    query: { state?: OperationState; limit?: number; cursor?: string } = {},
  ): Promise<Page<Operation>> {
    return this.#get('/v1/operations', query);
  }

  /** Why it is as it is, in sentences, with the entries of the journal that prove them. */
  explain(operationId: string): Promise<Explanation> {
    return this.#get(`${operationPath(operationId)}/explanation`);
  }

  /**
   * Begins to execute. Send `leaseEpoch` of the answer to each target that compares fencing tokens.
   * After `UnreachableError` an attempt may have begun: start again with the same `idempotencyKey`,
   * made by this worker for this start, and the same attempt comes back. Without it,
   * `attempt_in_progress` is answered until its heartbeat is missed, or `supersede` asserts that no
   * other worker runs.
   */
  startAttempt(
    operationId: string,
    { idempotencyKey, ...request }: { supersede?: boolean; idempotencyKey?: string } = {},
  ): Promise<Attempt> {
    return this.#send(
      'POST',
      `${operationPath(operationId)}/attempts`,
      request,
      keyHeader(idempotencyKey),
    );
  }

  /**
   * Says that the worker lives, and saves its checkpoint durably. `attempt_stale`, `lease_lost`,
   * `deadline_passed` and `operation_settled` mean: stop now, and begin no further effect.
   */
  heartbeat(
    { operationId, attempt }: OneAttempt,
    options: { checkpoint?: unknown } = {},
  ): Promise<Heartbeat> {
    return this.#send('POST', `${attemptPath({ operationId, attempt })}/heartbeat`, options);
  }

  /**
   * Asks before doing something visible outside. Do it only when this returns with `replayed:
   * false`; with `replayed: true` it was done before and `effect.result` is what came of it. After
   * any error do not do it: after `UnreachableError` ask again with the same `idempotencyKey`, made
   * by this worker for this try; without it the sidecar cannot tell this worker, who did nothing
   * yet, from another who may have.
   */
  beginEffect(
    effect: OneEffect,
    { idempotencyKey }: { idempotencyKey?: string } = {},
  ): Promise<EffectAnswer> {
    return this.#send('POST', effectPath(effect), undefined, keyHeader(idempotencyKey));
  }

  /** Records what came of an effect. Where the target gave no answer, the truth is `unknown`. */
  settleEffect(effect: OneEffect, result: ReportedResult): Promise<EffectAnswer> {
    return this.#send('PUT', effectPath(effect), result);
  }

  /** Ends the attempt. Sending the same outcome again is safe. */
  reportOutcome(
    attempt: OneAttempt,
    outcome: ReportedResult & { readonly reason?: string },
  ): Promise<Operation> {
    return this.#send('PUT', `${attemptPath(attempt)}/outcome`, outcome);
  }

  cancel(operationId: string, options: { reason?: string } = {}): Promise<Operation> {
    return this.#send('POST', `${operationPath(operationId)}/cancel`, options);
  }

  /** Settles an operation whose outcome is unknown, by what a person or a probe found out. */
  resolve(
    operationId: string,
    resolution: {
      readonly outcome: 'succeeded' | 'failed';
      readonly provenance: 'verified' | 'asserted' | 'assumed';
      readonly reason: string;
      readonly result?: unknown;
    },
  ): Promise<Operation> {
    return this.#send('POST', `${operationPath(operationId)}/resolve`, resolution);
  }

  /** The leases that this host holds or wants. */
  async leases(): Promise<readonly HeldLeaseView[]> {
    return (await this.#get<{ items: HeldLeaseView[] }>('/v1/leases')).items;
  }

  /**
   * Returns when the lease is held, or when control said why not, or after `waitMs`: look at
   * `state`.
   */
  acquireLease(resource: string, options: { waitMs?: number } = {}): Promise<HeldLeaseView> {
    const waitMs = options.waitMs ?? LEASE_WAIT_MS;
    return this.#caller.body({
      method: 'POST',
      path: `/v1/leases/${encodeURIComponent(resource)}:acquire`,
      query: { wait: `${waitMs}ms` },
      timeoutMs: waitMs + LEASE_ANSWER_MS,
    });
  }

  releaseLease(resource: string): Promise<HeldLeaseView> {
    return this.#send('POST', `/v1/leases/${encodeURIComponent(resource)}:release`);
  }

  /**
   * That control granted this lease, signed by it: for a service elsewhere, in the header
   * `holdfast-authority`. Ask for it anew for each piece of work; the sidecar keeps it.
   */
  leaseToken(resource: string, options: { waitMs?: number } = {}): Promise<SidecarLeaseToken> {
    const waitMs = options.waitMs ?? LEASE_WAIT_MS;
    return this.#caller.body({
      method: 'GET',
      path: `/v1/leases/${encodeURIComponent(resource)}/token`,
      query: { wait: `${waitMs}ms` },
      timeoutMs: waitMs + LEASE_ANSWER_MS,
    });
  }

  /**
   * For a target on this host that has no memory for fencing tokens: the sidecar's is used,
   * durably. Throws `stale_owner` when a newer owner has been here; do not do the write then.
   */
  checkFence(resource: string, epoch: number): Promise<Fence> {
    assert(Number.isSafeInteger(epoch), `${epoch} is not a fencing token`);
    return this.#send('POST', `/v1/fences/${encodeURIComponent(resource)}:check`, { epoch });
  }

  /** `register_not_found` where there is none. */
  register(key: string): Promise<Register> {
    return this.#get(registerPath(key));
  }

  /** Of this app, in the order of their keys, without their values. */
  registers(query: { limit?: number; cursor?: string } = {}): Promise<Page<RegisterSummary>> {
    return this.#caller.body({ method: 'GET', path: '/v1/registers', query });
  }

  /**
   * Makes a register, or replaces the version that was read; durable before it resolves. Throws
   * `register_changed` where somebody else was faster, `stale_owner` where a newer owner of the
   * token's resource has been here: do not go on then.
   */
  putRegister(key: string, value: unknown, guard: RegisterGuard): Promise<Register> {
    return this.#caller.body({
      method: 'PUT',
      path: registerPath(key),
      headers: guardHeaders(guard),
      body: { value },
    });
  }

  async deleteRegister(key: string, guard: RegisterGuard & { replaces: number }): Promise<void> {
    const headers = guardHeaders(guard);
    await this.#caller.call({ method: 'DELETE', path: registerPath(key), headers });
  }

  /** What became of the work over an outage: of the last one, or of the one named. */
  recovery(options: { outageId?: string } = {}): Promise<Recovery> {
    return this.#get('/v1/recovery', { outage: options.outageId });
  }

  /** More of one of its lists. A page may be empty and the list go on: look at `nextCursor`. */
  recoveryPage(
    list: RecoveryList,
    { outageId, ...page }: { outageId?: string; limit?: number; cursor?: string } = {},
  ): Promise<RecoveryPage> {
    return this.#get(`/v1/recovery/${list}`, { outage: outageId, ...page });
  }

  /** With its moments, and what happened in it (so far). */
  outage(outageId: string): Promise<Outage> {
    return this.#get(`/v1/outages/${encodeURIComponent(outageId)}`);
  }

  /** Newest first. */
  async outages(options: { limit?: number } = {}): Promise<readonly Outage[]> {
    return (await this.#get<{ items: Outage[] }>('/v1/outages', options)).items;
  }

  /** How long each kind of work goes on being admitted if control is lost this instant. */
  outageBudget(): Promise<OutageBudget> {
    return this.#get('/v1/outage-budget');
  }

  /** Newest first. */
  async refusals(options: { limit?: number } = {}): Promise<readonly Refusal[]> {
    return (await this.#get<{ items: Refusal[] }>('/v1/refusals', options)).items;
  }

  /** What is left of each limit, the least remaining first. */
  limits(): Promise<Limits> {
    return this.#get('/v1/limits');
  }

  status(): Promise<SidecarStatus> {
    return this.#get('/v1/status');
  }

  health(): Promise<Health> {
    return this.#get('/v1/health');
  }

  async close(): Promise<void> {
    await this.#caller.close();
  }

  #get<T>(
    path: string,
    query: Readonly<Record<string, string | number | undefined>> = {},
  ): Promise<T> {
    return this.#caller.body<T>({ method: 'GET', path, query });
  }

  #send<T>(
    method: 'POST' | 'PUT',
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<T> {
    return this.#caller.body<T>({
      method,
      path,
      headers,
      ...(body === undefined ? {} : { body }),
    });
  }
}

function keyHeader(idempotencyKey: string | undefined): Readonly<Record<string, string>> {
  return idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey };
}

/**
 * Least wait before the same question may be put again; `null` where putting it again is no use.
 */
function retryDelayAskedForMs(error: unknown): number | null {
  if (error instanceof UnreachableError) return 0;
  if (error instanceof ProblemError && error.retryable) return error.retryAfterMs ?? 0;
  return null;
}
