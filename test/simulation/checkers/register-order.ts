/** Registers of one host as linearizable objects, each by itself (I6, T5). */
import { canonicalJson } from '../../../shared/core/canonical-json.ts';
import type { Register } from '../../../shared/wire/register-api.ts';
import type { Call } from '../history-view.ts';
import type { Findings } from './findings.ts';
import { isHeldIn, type JournalLife } from './journal-life.ts';
import { linearize, type Step } from './linearizable.ts';
import type { World } from './world.ts';

const STEPS_MAX = 200;

/** A version that nobody was told of is `null` until a read tells it. */
type State = { readonly version: number | null; readonly value: string };
const ABSENT: State = { version: 0, value: '' };
type Use = Call<'put_register'> | Call<'register'>;

export function checkRegisters(world: World, life: JournalLife, findings: Findings): void {
  // What an old copy had is not known here.
  if (life.lostUpToMs !== null) return;
  const uses = world.calls.filter(
    (call): call is Use =>
      (call.request.kind === 'put_register' || call.request.kind === 'register') &&
      call.to === life.host &&
      isHeldIn(life, call.sent.atMs) &&
      (call.ended === null || isHeldIn(life, call.ended.atMs)),
  );
  const byRegister = Map.groupBy(uses, ({ client, request }) => `${client} ${request.register}`);
  for (const [register, its] of byRegister) {
    const pairs = its.slice(0, STEPS_MAX).flatMap((call) => {
      const step = stepOf(call);
      return step === null ? [] : [{ call, step }];
    });
    const result = linearize<State>(
      pairs.map(({ step }) => step),
      ABSENT,
      ({ version, value }) => `${version} ${value}`,
    );
    findings.expect(
      result.kind !== 'no',
      () =>
        `no order explains register ${register} on ${life.host}: ${result.kind === 'no' ? result.blocked.map((index) => wordsOf(pairs[index]?.call)).join('; ') : ''}`,
      () => pairs.map(({ call }) => call.sent.seq),
    );
  }
}

function stepOf(call: Use): Step<State> | null {
  const { request, sent, ended } = call;
  const end = ended?.end;
  const times = { sentSeq: sent.seq, endedSeq: ended?.seq ?? null };
  if (request.kind === 'register') {
    if (end?.kind === 'ok') return { ...times, apply: readOf(end.body as Register) };
    if (end?.kind !== 'refused' || end.code !== 'register_not_found') return null;
    return { ...times, apply: (state) => (state === ABSENT ? state : null) };
  }
  const value = canonicalJson(request.value ?? null);
  const { replaces } = request;
  if (end === undefined || end.kind === 'info') {
    const apply = (state: State): State | null =>
      fits(state, replaces) ? { version: null, value } : null;
    return { ...times, endedSeq: null, apply };
  }
  if (end.kind === 'refused') {
    // Others are about its token, or about room.
    if (end.code !== 'register_changed' && end.code !== 'register_not_found') return null;
    return { ...times, apply: refusedOf(replaces) };
  }
  const { version } = end.body as Register;
  return {
    ...times,
    apply: (state) => {
      const isLater = state.version === null || version > state.version;
      return fits(state, replaces) && isLater ? { version, value } : null;
    },
  };
}

/** Where nobody knows the version, any may be the one. */
function fits(state: State, replaces: number | null): boolean {
  if (state === ABSENT) return replaces === null;
  return replaces !== null && (state.version === null || state.version === replaces);
}

function refusedOf(replaces: number | null): (state: State) => State | null {
  return (state) => {
    if (state === ABSENT) return replaces === null ? null : state;
    return replaces === null || state.version !== replaces ? state : null;
  };
}

function readOf({ version, value }: Register): (state: State) => State | null {
  const text = canonicalJson(value ?? null);
  return (state) => {
    if (state === ABSENT || state.value !== text) return null;
    if (state.version !== null && state.version !== version) return null;
    return { version, value: text };
  };
}

function wordsOf(call: Use | undefined): string {
  if (call === undefined) return '';
  const { request, ended, sent } = call;
  const what =
    request.kind === 'register'
      ? 'read'
      : `write of ${canonicalJson(request.value ?? null)} over ${request.replaces ?? 'none'}`;
  const body = ended?.end.kind === 'ok' ? (ended.end.body as Register) : null;
  const said = body === null ? (ended?.end.kind ?? 'no answer') : `version ${body.version}`;
  return `${what} (event ${sent.seq}): ${said}`;
}
