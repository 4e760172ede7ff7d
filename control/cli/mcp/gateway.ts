/**
 * The gateway: a call of a tool becomes an operation, and what came of it is told from its record.
 *
 * W1  The tool is called only inside an effect whose beginning is on record (I9), at most once for
 *     one operation; a call that was cut short is unknown and is not made again.
 * W2  What is told rests on the record, or says that the record could not be read (I8).
 * W3  A call that is given up by the client goes on here, and its answer is kept for who asks again:
 *     to cut it short would make an unknown of it.
 * W4  The same call that is under way here is waited for, not made.
 */
import {
  EffectFailedError,
  ProblemError,
  UnreachableError,
  type Holdfast,
  type Operation,
  type OperationHandle,
  type SidecarClient,
} from '../../../shared/client/index.ts';
import type { Clock } from '../../../shared/platform/clock.ts';
import { sha256Hex } from '../../../shared/platform/digest.ts';
import { planCall, type CallPlan, type ToolCall } from './call-plan.ts';
import { previewTools, type ListedTool } from './listing.ts';
import {
  ToolErrorAnswer,
  isToolError,
  toldAnswer,
  toldInvalid,
  toldNotBegun,
  toldRecord,
  toldRefused,
  toldUnreachable,
  toldUnrecorded,
} from './told.ts';
import {
  KEPT_ANSWER_BYTES_MAX,
  readKeptAnswer,
  type KeptAnswer,
  type ToolAnswer,
} from './tool-answer.ts';
import type { ToolMap } from './tool-map.ts';
import { NotDoneError, type Progress, type Upstream } from './upstream-port.ts';

/** Calls that wait for an approval, kept so that who polls can have them done. */
const WAITING_MAX = 1_000;

export type GatewayParts = {
  readonly sidecar: SidecarClient;
  readonly holdfast: Holdfast;
  readonly upstream: Upstream;
  readonly clock: Clock;
  /** Names the server in actions, resources and keys. */
  readonly server: string;
  readonly principal: string;
  readonly map: ToolMap;
  /** How long a call waits for an approval before it is told as pending. */
  readonly approvalWaitMs: number;
};

export type GatewayCall = ToolCall & { readonly onProgress: ((it: Progress) => void) | null };
type Planned = CallPlan & { kind: 'planned' };

export class Gateway {
  readonly #parts: GatewayParts;
  readonly #underWay = new Map<string, Promise<ToolAnswer>>();
  readonly #waiting = new Map<string, { call: GatewayCall; plan: Planned }>();

  constructor(parts: GatewayParts) {
    this.#parts = parts;
  }

  list(): Promise<readonly ListedTool[]> {
    return previewTools(this.#parts);
  }

  call(call: GatewayCall): Promise<ToolAnswer> {
    const plan = planCall(call, { ...this.#parts, sha256: sha256Hex });
    if (plan.kind === 'unfit') return Promise.resolve(toldInvalid(plan.detail));
    return this.#once(call, plan);
  }

  /** Of an operation that was asked for before; one that this session still waits for is done. */
  async result(operationId: string, scope: string): Promise<ToolAnswer> {
    const waiting = this.#waiting.get(operationId);
    if (waiting !== undefined && waiting.call.scope === scope)
      return this.#once(waiting.call, waiting.plan);
    try {
      const { principal, sidecar, approvalWaitMs: waitMs } = this.#parts;
      const record = await sidecar.waitForOperation(operationId, { until: 'decided', waitMs });
      const isOurs = record.principal === principal && record.idempotencyKey.startsWith('mcp.');
      return isOurs
        ? toldRecord(record, record.effects[0]?.name ?? 'call')
        : toldInvalid(`operation ${operationId} was not asked for by this gateway`);
    } catch (error) {
      return toldFailure(error, { operationId, isCalled: false });
    }
  }

  /** Resolves when no call is under way. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay.values());
  }

  /** W4. */
  #once(call: GatewayCall, plan: Planned): Promise<ToolAnswer> {
    const known = this.#underWay.get(plan.idempotencyKey);
    if (known !== undefined) return known;
    const answer = this.#admitAndRun(call, plan).finally(() =>
      this.#underWay.delete(plan.idempotencyKey),
    );
    this.#underWay.set(plan.idempotencyKey, answer);
    return answer;
  }

  async #admitAndRun(call: GatewayCall, plan: Planned): Promise<ToolAnswer> {
    const { holdfast, upstream, clock } = this.#parts;
    const { idempotencyKey, request, effect } = plan;
    let handle: OperationHandle;
    let record: Operation;
    try {
      handle = await holdfast.admit(request, { idempotencyKey });
      record = await this.#decided(handle.record);
    } catch (error) {
      return toldFailure(error, { operationId: null, isCalled: false });
    }
    if (record.state === 'awaiting_approval') {
      this.#keepWaiting(handle.id, { call, plan });
      return toldRecord(record, effect);
    }
    this.#waiting.delete(handle.id);
    if (!RUNS.has(record.state)) return toldRecord(record, effect);
    const reached = await upstream.reach();
    if (!reached.ok) return toldNotBegun(record, reached.detail, clock.now().wallMs);
    return this.#run(handle, call, effect);
  }

  async #decided(record: Operation): Promise<Operation> {
    const { sidecar, approvalWaitMs: waitMs } = this.#parts;
    if (record.state !== 'awaiting_approval' || waitMs === 0) return record;
    return sidecar.waitForOperation(record.operationId, { until: 'decided', waitMs });
  }

  /** W1. */
  async #run(handle: OperationHandle, call: GatewayCall, effect: string): Promise<ToolAnswer> {
    const { upstream } = this.#parts;
    const made: { isCalled: boolean; answer: ToolAnswer | null } = {
      isCalled: false,
      answer: null,
    };
    try {
      await handle.run(async (ctx) => {
        const kept = await ctx.effect(effect, {}, async (context) => {
          made.isCalled = true;
          const { tool, args, onProgress } = call;
          try {
            made.answer = await upstream.call({ tool, args, onProgress, ...context });
          } catch (error) {
            if (!(error instanceof NotDoneError)) throw error;
            throw new EffectFailedError(error.message, { cause: error });
          }
          return keep(made.answer);
        });
        const answer = made.answer ?? answerIn(kept);
        if (answer !== null && isToolError(answer)) throw new ToolErrorAnswer(answer);
        return null;
      });
    } catch (error) {
      if (!(error instanceof ToolErrorAnswer)) return this.#toldAfter(error, handle, effect, made);
    }
    return made.answer === null
      ? this.#toldOf(handle, effect)
      : this.#toldAfter(null, handle, effect, made);
  }

  /** W2. */
  async #toldAfter(
    error: unknown,
    handle: OperationHandle,
    effect: string,
    { isCalled, answer }: { isCalled: boolean; answer: ToolAnswer | null },
  ): Promise<ToolAnswer> {
    const operationId = handle.id;
    // What `run` returns is on record; so is what it throws as the tool's own error.
    if (error === null && answer !== null) return toldAnswer(answer, operationId);
    let record: Operation;
    try {
      record = await handle.get();
    } catch (silence) {
      const detail = textOf(silence);
      return answer === null
        ? toldUnreachable(detail, { operationId, isCalled })
        : toldUnrecorded(answer, { operationId, detail });
    }
    const isRecorded = record.effects.some(
      ({ name, state }) => name === effect && state === 'succeeded',
    );
    if (answer !== null && isRecorded) return toldAnswer(answer, operationId);
    if (answer !== null) return toldUnrecorded(answer, { operationId, detail: textOf(error) });
    const isRefused = error instanceof ProblemError && !isCalled && RUNS.has(record.state);
    if (isRefused && !error.is('attempt_in_progress'))
      return toldFailure(error, { operationId, isCalled });
    return toldRecord(record, effect);
  }

  async #toldOf(handle: OperationHandle, effect: string): Promise<ToolAnswer> {
    try {
      return toldRecord(await handle.get(), effect);
    } catch (error) {
      return toldFailure(error, { operationId: handle.id, isCalled: false });
    }
  }

  #keepWaiting(operationId: string, waiting: { call: GatewayCall; plan: Planned }): void {
    const [oldest] = this.#waiting.keys();
    if (this.#waiting.size >= WAITING_MAX && oldest !== undefined) this.#waiting.delete(oldest);
    this.#waiting.set(operationId, { ...waiting, call: { ...waiting.call, onProgress: null } });
  }
}

/** A run may begin, or wait for its turn. */
const RUNS: ReadonlySet<string> = new Set(['accepted', 'executing', 'paused']);

function keep(answer: ToolAnswer): KeptAnswer {
  const text = JSON.stringify(answer);
  const bytes = Buffer.byteLength(text);
  if (bytes <= KEPT_ANSWER_BYTES_MAX) return { answer };
  return { answerOmitted: { bytes, sha256: sha256Hex(text), isError: isToolError(answer) } };
}

/** Of an earlier attempt. */
function answerIn(result: unknown): ToolAnswer | null {
  const kept = readKeptAnswer(result);
  if (kept === null) return null;
  if ('answer' in kept) return kept.answer;
  return { content: [], isError: kept.answerOmitted.isError };
}

/** Of a question to the sidecar, none of which has called the tool by itself. */
function toldFailure(
  error: unknown,
  at: { readonly operationId: string | null; readonly isCalled: boolean },
): ToolAnswer {
  if (error instanceof ProblemError && !error.is('outcome_unknown')) {
    const { code, retryable, retryAfterMs, message: detail } = error;
    const { operationId } = at;
    const of = operationId === null ? {} : { operationId };
    return toldRefused({ code, detail, retryable, retryAfterMs, ...of });
  }
  if (error instanceof UnreachableError || error instanceof ProblemError)
    return toldUnreachable(error.message, at);
  throw error;
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
