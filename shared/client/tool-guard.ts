/**
 * A tool of a language model, guarded: the same proposal is the same operation.
 *
 * A model that plans again proposes what it has proposed before, and so does one whose turn was cut
 * off. Its call is named by a digest of the action, the arguments (canonical JSON, so that neither
 * order nor spaces count) and a scope. Within the scope the second call gets what came of the first.
 */
import { canonicalJson } from '../core/canonical-json.ts';
import type { EffectContext } from './attempt-run.ts';
import type { AdmitOptions } from './holdfast.ts';
import type { OperationHandle } from './operation-handle.ts';
import { ProblemError } from './problem-error.ts';
import { EffectUnknownError, OperationEndedError, RunStoppedError } from './run-errors.ts';
import type { AdmitRequest } from './sidecar-shapes.ts';

export type GuardedTool<A, T> = {
  readonly principal: string;
  readonly action: string;
  /** The effect that the rule declares for it. */
  readonly effect: string;
  /** What policy decides on; the arguments themselves are in the digest alone. */
  readonly describe?: (args: A) => Pick<AdmitRequest, 'resource' | 'attributes' | 'deadlineMs'>;
  readonly execute: (args: A, effect: EffectContext) => Promise<T> | T;
};

export type ToolCall = {
  /**
   * Within which the same arguments mean the same call: the conversation, and the step of the plan
   * where a repetition can be meant (`conversation-7/step-2`).
   */
  readonly scope: string;
};

/** For the model to read: `unknown` must not be taken for a failure, and is not to be tried again. */
export type ToolOutcome<T> = { readonly operationId: string | null } & (
  | { readonly status: 'succeeded'; readonly result: T; readonly replayed: boolean }
  | { readonly status: 'refused'; readonly code: string; readonly detail: string }
  | { readonly status: 'failed'; readonly detail: string }
  | { readonly status: 'unknown'; readonly detail: string }
  | { readonly status: 'pending'; readonly detail: string }
);

/** What of the client a guard needs. */
type Admitting = {
  admit(request: AdmitRequest, options: AdmitOptions): Promise<OperationHandle>;
};

export function holdfastTool<A, T>(
  holdfast: Admitting,
  tool: GuardedTool<A, T>,
): (args: A, call: ToolCall) => Promise<ToolOutcome<T>> {
  return async (args, { scope }) => {
    const { principal, action } = tool;
    const idempotencyKey = `tool.${await sha256Hex(canonicalJson([principal, action, scope, args]))}`;
    const request: AdmitRequest = { principal, action, ...tool.describe?.(args) };
    let handle: OperationHandle;
    try {
      handle = await holdfast.admit(request, { idempotencyKey });
    } catch (error) {
      if (!(error instanceof ProblemError) || error.is('outcome_unknown')) throw error;
      return { operationId: null, status: 'refused', code: error.code, detail: error.message };
    }
    return outcomeOf(handle, tool, args);
  };
}

async function outcomeOf<A, T>(
  handle: OperationHandle,
  { effect, execute }: GuardedTool<A, T>,
  args: A,
): Promise<ToolOutcome<T>> {
  const operationId = handle.id;
  let isRun = false;
  try {
    const result = await handle.run((ctx) =>
      ctx.effect(effect, {}, (context) => {
        isRun = true;
        return execute(args, context);
      }),
    );
    return { operationId, status: 'succeeded', result, replayed: !isRun };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    if (error instanceof OperationEndedError) {
      const { state } = error.operation;
      return { operationId, status: state === 'unknown' ? 'unknown' : 'failed', detail };
    }
    if (error instanceof EffectUnknownError) return { operationId, status: 'unknown', detail };
    const isPending =
      error instanceof RunStoppedError || (error instanceof ProblemError && error.retryable);
    if (isPending) return { operationId, status: 'pending', detail };
    if (error instanceof ProblemError)
      return { operationId, status: 'refused', code: error.code, detail };
    const { state } = await handle.get();
    return { operationId, status: state === 'failed' ? 'failed' : 'unknown', detail };
  }
}

async function sha256Hex(text: string): Promise<string> {
  const bytes = await globalThis.crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
