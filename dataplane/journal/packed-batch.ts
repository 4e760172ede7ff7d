/**
 * A batch as it crosses to the writer's thread and back. An object costs its names at each crossing:
 * admissions, of which there are most, go as lists of values, and what they have in common goes once.
 */
import type { BatchAnswer, JournalAnswer, JournalCommand } from './journal-command.ts';

type Admit = JournalCommand & { readonly type: 'admit' };
/** `Required`: a field that is new to the command has no place below, and does not compile. */
type Unpacked = { readonly [Name in keyof Required<Admit>]: Admit[Name] | undefined };
type PackedAdmit = [
  operationId: string,
  app: string,
  idempotencyKey: string,
  fingerprint: string,
  leaseResource: string | null,
  leaseEpoch: number | null,
  state: Admit['state'],
  onControlLoss: string,
  deadlineAtMs: number,
  authorityEndsBootMs: number,
  outageId: string | null,
  noRoom: string | undefined,
  quota: Admit['quota'],
  action: string,
  ownText: string,
  end: number,
  wallMs: number,
  bootMs: number,
  bootId: number,
];
export type PackedCommands = {
  readonly commands: readonly (JournalCommand | PackedAdmit)[];
  /** Ends of texts and ids of boots: the numbers above are places in it. */
  readonly shared: readonly string[];
};
export type PackedBatch = Omit<BatchAnswer, 'answers'> & {
  /** `null`: it was admitted just now. */
  readonly answers: readonly (JournalAnswer | null)[];
};

export function packCommands(commands: readonly JournalCommand[]): PackedCommands {
  const places = new Map<string, number>();
  const placeOf = (text: string): number => {
    let place = places.get(text);
    if (place === undefined) {
      place = places.size;
      places.set(text, place);
    }
    return place;
  };
  const packed = commands.map((command) =>
    command.type === 'admit' ? packAdmit(command, placeOf) : command,
  );
  return { commands: packed, shared: [...places.keys()] };
}

function packAdmit(command: Admit, placeOf: (text: string) => number): PackedAdmit {
  const { admission, now } = command;
  return [
    command.operationId,
    command.app,
    command.idempotencyKey,
    command.fingerprint,
    command.leaseResource,
    command.leaseEpoch,
    command.state,
    command.onControlLoss,
    command.deadlineAtMs,
    command.authorityEndsBootMs,
    command.outageId,
    command.noRoom,
    command.quota,
    command.action,
    admission.own,
    placeOf(admission.end),
    now.wallMs,
    now.bootMs,
    placeOf(now.bootId),
  ];
}

export function unpackCommands({ commands, shared }: PackedCommands): JournalCommand[] {
  return commands.map((command) =>
    Array.isArray(command) ? unpackAdmit(command, shared) : command,
  );
}

function unpackAdmit(packed: PackedAdmit, shared: readonly string[]): Admit {
  const [operationId, app, idempotencyKey, fingerprint, leaseResource, leaseEpoch, ...rest] =
    packed;
  const [
    state,
    onControlLoss,
    deadlineAtMs,
    authorityEndsBootMs,
    outageId,
    noRoom,
    quota,
    ...last
  ] = rest;
  const [action, own, end, wallMs, bootMs, bootId] = last;
  const command: Unpacked = {
    type: 'admit',
    operationId,
    app,
    idempotencyKey,
    fingerprint,
    leaseResource,
    leaseEpoch,
    state,
    onControlLoss,
    deadlineAtMs,
    authorityEndsBootMs,
    outageId,
    noRoom,
    quota,
    action,
    admission: { own, end: shared[end] ?? '' },
    now: { wallMs, bootMs, bootId: shared[bootId] ?? '' },
  };
  return command as Admit;
}

export function packBatch({ answers, ...state }: BatchAnswer): PackedBatch {
  const packed = answers.map((answer) =>
    answer.type === 'admitted' && answer.recorded === null ? null : answer,
  );
  return { ...state, answers: packed };
}

const ADMITTED: JournalAnswer = { type: 'admitted', recorded: null };

export function unpackAnswers(answers: PackedBatch['answers']): JournalAnswer[] {
  return answers.map((answer) => answer ?? ADMITTED);
}
