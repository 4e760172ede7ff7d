/**
 * The ledger of the desk, the journal of the sidecar, and what the agent was told, held against one
 * another. Pure. Nothing of the run itself is believed: each is what it left behind.
 *
 * K1  Every entry of the ledger is a call that the journal has: of that operation, that tool and those
 *     arguments, begun on record, and approved before where its rule asked for that.
 * K2  No key is in the ledger twice (I9), and no proposal is two operations (I2).
 * K3  What the journal calls done is in the ledger; what it calls not done is not. Where it calls
 *     nobody's knowledge known, that is a lie as well.
 * K4  Each call of each turn was told, and as the journal has it: unknown was unknown, refused was not
 *     begun (I8).
 * K5  Every operation has ended, and its explanation tells of its call.
 */
import { canonicalJson } from '../../../shared/core/canonical-json.ts';
import type { JournalEvent } from '../../../shared/wire/operation.ts';
import type { Told } from './agent.ts';
import type { LedgerEntry } from './desk-target.ts';
import { EFFECT, actionOf } from './tools.ts';
import type { ProposedCall, RecordedTurn } from './turn-file.ts';

export type Evidence = {
  readonly conversation: string;
  readonly turns: readonly RecordedTurn[];
  readonly told: readonly Told[];
  readonly ledger: readonly LedgerEntry[];
  /** As `holdfast journal export` has it, of the operations of this conversation. */
  readonly journal: readonly JournalEvent[];
  readonly explanations: readonly { readonly operationId: string; readonly summary: string[] }[];
};

export type Account = {
  readonly operations: number;
  readonly entries: number;
  readonly lost: readonly string[];
  readonly doubled: readonly string[];
  readonly unexplained: readonly string[];
  readonly toldWrong: readonly string[];
  readonly unsettled: readonly string[];
};

/** An operation as the journal alone tells of it. */
type Recorded = {
  readonly operationId: string;
  /** The tool as its action, and its arguments. */
  readonly call: string;
  readonly needsApproval: boolean;
  approvedSeq: number | null;
  begunSeq: number | null;
  effect: string | null;
  state: string;
  provenance: string | null;
  wasUnknown: boolean;
};

const ENDED: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'expired']);

export function takeAccount(evidence: Evidence): Account {
  const { ledger, told, turns } = evidence;
  const recorded = readJournal(evidence);
  const byCall = Map.groupBy(recorded.values(), ({ call }) => call);
  const byKey = Map.groupBy(ledger, ({ idempotencyKey }) => idempotencyKey);
  return {
    operations: recorded.size,
    entries: ledger.length,
    lost: [...recorded.values()].filter((it) => saysDone(it) && !byKey.has(keyOf(it))).map(text),
    doubled: [
      ...[...byKey].flatMap(([key, { length }]) => (length > 1 ? [`${key}: ${length} times`] : [])),
      ...[...byCall].flatMap(([call, { length }]) =>
        length > 1 ? [`${call} is ${length} operations`] : [],
      ),
    ],
    unexplained: ledger.flatMap((entry) => entryProblem(entry, recorded) ?? []),
    toldWrong: [
      ...untold(turns, told),
      ...told.flatMap((it) => toldProblem(it, { recorded, byCall }) ?? []),
    ],
    unsettled: [...recorded.values()].flatMap((it) => endProblem(it, evidence) ?? []),
  };
}

/** Those entries that are about operations of the conversation. */
export function journalOf(
  journal: readonly JournalEvent[],
  conversation: string,
): readonly JournalEvent[] {
  const ids = new Set(
    journal
      .filter(({ body }) => (body as Body).attributes?.['conversation'] === conversation)
      .map(({ operationId }) => operationId),
  );
  return journal.filter(({ operationId }) => operationId !== null && ids.has(operationId));
}

export const isClean = ({ lost, doubled, unexplained, toldWrong, unsettled }: Account): boolean =>
  [lost, doubled, unexplained, toldWrong, unsettled].every(({ length }) => length === 0);

const keyOf = ({ operationId }: Recorded): string => `${operationId}.${EFFECT}`;
const callText = (tool: string, args: object): string => `${actionOf(tool)} ${canonicalJson(args)}`;
const sameCall = (a: ProposedCall, b: ProposedCall): boolean =>
  callText(a.tool, a.args) === callText(b.tool, b.args);
const text = ({ operationId, call, state }: Recorded): string =>
  `${operationId} (${call}) is ${state}`;

function readJournal({ journal }: Evidence): ReadonlyMap<string, Recorded> {
  const recorded = new Map<string, Recorded>();
  for (const { operationId, kind, seq, body } of journal) {
    if (operationId === null) continue;
    const { action, attributes, approval, state, effect, effects, outcome } = body as Body;
    if (kind === 'admitted') {
      const { conversation: _, ...args } = attributes ?? {};
      recorded.set(operationId, {
        operationId,
        call: `${action} ${canonicalJson(args)}`,
        needsApproval: approval !== undefined,
        approvedSeq: null,
        begunSeq: null,
        effect: null,
        state: approval === undefined ? 'accepted' : 'awaiting_approval',
        provenance: null,
        wasUnknown: false,
      });
      continue;
    }
    const it = recorded.get(operationId);
    if (it === undefined) continue;
    it.state = state ?? it.state;
    it.wasUnknown ||= it.state === 'unknown';
    it.provenance = outcome?.provenance ?? it.provenance;
    if (kind === 'approved') it.approvedSeq = seq;
    if (kind === 'effect_begun') it.begunSeq ??= seq;
    const last = effect ?? effects?.find(({ name }) => name === EFFECT);
    it.effect = last?.state ?? it.effect;
  }
  return recorded;
}

type Body = {
  readonly action?: string;
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly approval?: object;
  readonly state?: string;
  readonly effect?: { readonly name: string; readonly state: string };
  readonly effects?: readonly { readonly name: string; readonly state: string }[];
  readonly outcome?: { readonly provenance: string };
};

/** `null`: nobody has said. */
function saysDone({ effect, state, provenance }: Recorded): boolean | null {
  if (effect === null || effect === 'failed') return false;
  if (effect === 'succeeded') return true;
  return provenance === 'verified' ? state === 'succeeded' : null;
}

/** K1, and of K3 what is in the ledger against the word of the journal. */
function entryProblem(
  { tool, args, idempotencyKey }: LedgerEntry,
  recorded: ReadonlyMap<string, Recorded>,
): string | null {
  const it = recorded.get(idempotencyKey.slice(0, -`.${EFFECT}`.length));
  const call = callText(tool, args);
  if (it === undefined || keyOf(it) !== idempotencyKey)
    return `${call} was done under ${idempotencyKey}, which is no operation of the journal`;
  if (it.call !== call) return `${call} was done, and ${it.operationId} is ${it.call}`;
  if (it.begunSeq === null) return `${text(it)}, and was done without a beginning on record`;
  const isApproved = it.approvedSeq !== null && it.approvedSeq < it.begunSeq;
  if (it.needsApproval && !isApproved) return `${text(it)}, and was begun before it was approved`;
  return saysDone(it) === false ? `${text(it)}, and was done all the same` : null;
}

function untold(turns: readonly RecordedTurn[], told: readonly Told[]): string[] {
  return turns.flatMap(({ calls }, index) =>
    calls.flatMap(({ tool, args }, at) => {
      const of = told.filter(
        (it) => it.turn === index + 1 && it.call === at + 1 && sameCall(it, { tool, args }),
      );
      return of.length === 1
        ? []
        : [`call ${at + 1} of turn ${index + 1} was told ${of.length} times`];
    }),
  );
}

/** K4. */
function toldProblem(
  { tool, args, turn, status, operationId }: Told,
  {
    recorded,
    byCall,
  }: {
    readonly recorded: ReadonlyMap<string, Recorded>;
    readonly byCall: ReadonlyMap<string, readonly Recorded[]>;
  },
): string | null {
  const call = callText(tool, args);
  const wrong = (why: string): string => `turn ${turn}: ${call} was told as ${status}, and ${why}`;
  if (operationId === null) {
    // Nothing was accepted then; where the same was accepted another time, that is told there.
    const isSaid = status === 'refused' || status === 'unreachable';
    return isSaid ? null : wrong('names no operation');
  }
  const it = recorded.get(operationId);
  if (it === undefined) return wrong(`the journal has no ${operationId}`);
  if (!(byCall.get(call) ?? []).includes(it)) return wrong(`${operationId} is ${it.call}`);
  switch (status) {
    case 'succeeded':
      return saysDone(it) === true && it.state === 'succeeded' ? null : wrong(text(it));
    case 'unknown':
      return it.wasUnknown ? null : wrong(`${text(it)} and never was unknown`);
    case 'failed':
      return ENDED.has(it.state) && saysDone(it) === false ? null : wrong(text(it));
    case 'pending':
      return it.needsApproval ? null : wrong(`${text(it)} and needs no approval`);
    case 'refused':
      return it.begunSeq === null ? null : wrong(`${text(it)} and was begun`);
    case 'unreachable':
      return null;
  }
}

/** K5. */
function endProblem(it: Recorded, { explanations }: Evidence): string | null {
  if (!ENDED.has(it.state)) return `${text(it)}: it has not ended`;
  if (saysDone(it) === null) return `${text(it)}, and nobody has said whether it was done`;
  const said = explanations.find(({ operationId }) => operationId === it.operationId)?.summary;
  const hasCall = said?.some((sentence) => sentence.includes(`began effect ${EFFECT}`)) ?? false;
  if (said === undefined || hasCall !== (it.begunSeq !== null))
    return `${text(it)}, and its explanation does not tell of its call`;
  return null;
}
