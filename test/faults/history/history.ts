/**
 * What clients asked and what they were told, in the manner of Jepsen: each call is invoked, and
 * ends as `ok` (it happened), `fail` (it did not), or `info` (nobody knows). Silence is `info`,
 * never `fail`.
 */

/** Everything that a call would change if it took effect; `key` names one piece of work. */
export type CallRequest =
  | { readonly kind: 'admit'; readonly key: string; readonly amount: number }
  | { readonly kind: 'start_attempt'; readonly key: string; readonly token: string }
  | {
      readonly kind: 'begin_effect';
      readonly key: string;
      readonly effect: string;
      readonly token: string;
    }
  | {
      readonly kind: 'settle_effect';
      readonly key: string;
      readonly effect: string;
      readonly outcome: 'succeeded' | 'failed';
      readonly result: string;
    }
  | { readonly kind: 'save_checkpoint'; readonly key: string; readonly checkpoint: string }
  | {
      readonly kind: 'report_outcome';
      readonly key: string;
      readonly outcome: 'succeeded' | 'failed';
      readonly result: string;
    }
  | { readonly kind: 'cancel'; readonly key: string }
  | { readonly kind: 'check_fence'; readonly resource: string; readonly epoch: number };

/** What an answer says, where it says anything: the rest follows from the request. */
export type CallAnswer = {
  readonly operationId: string;
  readonly replayed: boolean;
  readonly attempt: number;
};

export type CallEnd =
  | { readonly kind: 'ok'; readonly answer: CallAnswer }
  | { readonly kind: 'fail'; readonly code: string }
  | { readonly kind: 'info'; readonly code: string };

export type Call = {
  readonly id: number;
  readonly request: CallRequest;
  /** Places in one order over all invocations and ends: a call that ended before another began is known. */
  readonly invokedAt: number;
  endedAt: number;
  readonly invokedMs: number;
  endedMs: number;
  /** `null` while no answer has come; it may or may not have taken effect. */
  end: CallEnd | null;
};

export class History {
  readonly calls: Call[] = [];
  #order = 0;
  #isCut = false;
  #endsAfterCut = 0;

  invoke(request: CallRequest): Call {
    this.#order += 1;
    const call: Call = {
      id: this.calls.length,
      request,
      invokedAt: this.#order,
      endedAt: Number.POSITIVE_INFINITY,
      invokedMs: Date.now(),
      endedMs: Number.POSITIVE_INFINITY,
      end: null,
    };
    this.calls.push(call);
    return call;
  }

  /**
   * After `cut` an `ok` proves nothing: a cut is not instantaneous, and what was answered while it
   * went on may be on the disk or not.
   */
  end(call: Call, end: CallEnd): void {
    this.#order += 1;
    call.endedAt = this.#order;
    call.endedMs = Date.now();
    if (this.#isCut && end.kind === 'ok') {
      this.#endsAfterCut += 1;
      call.end = { kind: 'info', code: 'answered_after_the_cut' };
      return;
    }
    call.end = end;
  }

  cut(): void {
    this.#isCut = true;
  }

  /** What is answered from now on counts again. */
  heal(): void {
    this.#isCut = false;
  }

  get endsAfterCut(): number {
    return this.#endsAfterCut;
  }
}

export function keyOf(request: CallRequest): string | null {
  return request.kind === 'check_fence' ? null : request.key;
}

/** By key, in the order of invocation. */
export function callsByKey(calls: readonly Call[]): Map<string, Call[]> {
  const byKey = new Map<string, Call[]>();
  for (const call of calls) {
    const key = keyOf(call.request);
    if (key === null) continue;
    const those = byKey.get(key);
    if (those === undefined) byKey.set(key, [call]);
    else those.push(call);
  }
  return byKey;
}

/** It took effect, or may have. */
export function mayHaveHappened({ end }: Call): boolean {
  return end?.kind !== 'fail';
}

export function isOpen({ end }: Call): boolean {
  return end === null || end.kind === 'info';
}

export function countCalls(calls: readonly Call[]): Record<string, number> {
  const of = (kind: string): number => calls.filter(({ end }) => end?.kind === kind).length;
  return {
    calls: calls.length,
    acknowledged: of('ok'),
    refused: of('fail'),
    'without a known outcome': calls.length - of('ok') - of('fail'),
  };
}
