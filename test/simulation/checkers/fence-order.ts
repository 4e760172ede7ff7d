/** The checks of tokens on one host, resource by resource, as a linearizable object (I6, T3). */
import type { Call } from '../history-view.ts';
import type { Fence } from '../../../shared/wire/sidecar-api.ts';
import type { Findings } from './findings.ts';
import { isHeldIn, type JournalLife } from './journal-life.ts';
import { linearize, type Step } from './linearizable.ts';
import type { World } from './world.ts';

/** So many calls that may be in any order are looked at together. */
const STEPS_MAX = 200;

export function checkFenceCalls(world: World, life: JournalLife, findings: Findings): void {
  const checks = world.calls.filter(
    (call): call is Call<'check_fence'> =>
      call.request.kind === 'check_fence' &&
      call.to === life.host &&
      isHeldIn(life, call.sent.atMs) &&
      (call.ended === null || isHeldIn(life, call.ended.atMs)),
  );
  for (const [resource, its] of Map.groupBy(checks, ({ request }) => request.resource)) {
    const pairs = its.slice(0, STEPS_MAX).flatMap((call) => {
      const step = stepOf(call);
      return step === null ? [] : [{ call, step }];
    });
    const result = linearize(
      pairs.map(({ step }) => step),
      0,
      String,
    );
    findings.expect(
      result.kind !== 'no',
      () =>
        `no order explains the checks of tokens of ${resource} on ${life.host}: ${result.kind === 'no' ? result.blocked.map((index) => wordsOf(pairs[index]?.call)).join('; ') : ''}`,
      () => pairs.map(({ call }) => call.sent.seq),
    );
  }
}

/**
 * The state is the highest token seen. Tokens come by admissions, attempts and registers as well; so
 * what an answer says is the highest may be higher than what these calls alone make it.
 */
function stepOf({ request, sent, ended }: Call<'check_fence'>): Step<number> | null {
  const { epoch } = request;
  const times = { sentSeq: sent.seq };
  if (ended === null || ended.end.kind === 'info')
    return { ...times, endedSeq: null, apply: (highest) => Math.max(highest, epoch) };
  const endedSeq = ended.seq;
  if (ended.end.kind === 'refused') {
    if (ended.end.code !== 'stale_owner') return null;
    return { ...times, endedSeq, apply: (highest) => Math.max(highest, epoch + 1) };
  }
  const { accepted, highestEpoch } = ended.end.body as Fence;
  const after = Math.max(epoch, highestEpoch);
  return {
    ...times,
    endedSeq,
    apply: (highest) => {
      if (highestEpoch < highest) return null;
      if (accepted) return epoch >= highest && highestEpoch === epoch ? after : null;
      return highestEpoch > epoch ? after : null;
    },
  };
}

function wordsOf(call: Call<'check_fence'> | undefined): string {
  if (call === undefined) return '';
  const { request, ended, sent } = call;
  const said =
    ended?.end.kind === 'ok'
      ? `accepted ${(ended.end.body as Fence).accepted}, highest ${(ended.end.body as Fence).highestEpoch}`
      : (ended?.end.kind ?? 'no answer');
  return `token ${request.epoch} (event ${sent.seq}): ${said}`;
}
