/**
 * Leases, epochs and fencing tokens as an executable specification: control with its store, floors
 * and a copy that can be put back, hosts, and messages on their way, all of it deciding with the
 * functions that the daemons decide with.
 *
 * I6  Each grant of a resource has an epoch above every one that was ever granted for it.
 * I7  No two hosts believe at one moment that they hold it, and none is granted it while another
 *     one still believes so.
 *
 * What may happen: requests and answers are lost, late, delivered twice and out of order; control
 * is killed, started, and its disk put back to a copy; a host's process or machine restarts, its
 * wall clock is stepped; clocks run apart as far as is declared. A host that does nothing for a
 * while is one that is stopped. Not in it: enrolment, the limit of leases, the lock delay, other
 * resources, a disk that loses what was synced; `fenced` ownership, which rests on I6 alone.
 */
import type { LeaseSync } from '../../control/core/lease-sync.ts';
import {
  newControl,
  startRun,
  takeSync,
  type ControlSide,
  type HeardRequest,
} from './control-side.ts';
import {
  answered,
  asking,
  believedEpoch,
  distrusting,
  newHost,
  nowOf,
  releasing,
  restarted,
  wanting,
  type HostSide,
} from './host-side.ts';
import type { Laws } from './laws.ts';
import { RESOURCE, STEP_MS, stepMs, type Rate } from './terms.ts';

export type Request = HeardRequest & { readonly id: number };
export type Answer = {
  readonly id: number;
  readonly host: string;
  readonly answer: LeaseSync;
  readonly runId: number;
};

/** How often a fault may still happen on the way that leads on from here. */
export type Faults = {
  readonly twice: number;
  readonly controlKilled: number;
  readonly copied: number;
  readonly restoredDatabase: number;
  readonly restoredAll: number;
  readonly hostRestarted: number;
  readonly clockStepped: number;
};

export type ModelState = {
  readonly control: ControlSide;
  readonly hosts: readonly HostSide[];
  readonly requests: readonly Request[];
  readonly answers: readonly Answer[];
  readonly faults: Faults;
  /** Of the resource; what nobody in the model can see. */
  readonly highestGranted: number;
  readonly nextId: number;
  readonly isTimeStill: boolean;
};

export type Step = { readonly label: string; readonly next: ModelState; readonly breach?: string };

export type Scenario = {
  readonly hosts: number;
  readonly faults: Faults;
  /** Without it control's wall clock stands at the beginning of time, and only floors are left. */
  readonly isWallClockRight: boolean;
  readonly rates: 'worst' | 'all';
  readonly begins: keyof typeof BEGINNINGS;
  /** What happens takes no time, so that no term ends by itself. */
  readonly isTimeStill: boolean;
};

const grantTo = (host: string): string[] => [
  `${host} wants it`,
  `${host} asks`,
  `what ${host} asked comes to control`,
  `${host} has its answer`,
];
const COPY = 'a copy is made of the disk of control';
const EXPIRY = Array.from({ length: 3 }, () => 'time goes on');
/** What has happened before the exploration begins. */
const BEGINNINGS = {
  nothing: [],
  grant: grantTo('host-1'),
  'a copy, then a grant': [COPY, ...grantTo('host-1')],
  'a grant, a copy, then another owner': [
    ...grantTo('host-1'),
    COPY,
    ...EXPIRY,
    ...grantTo('host-2'),
  ],
  'a copy, a start, an old request on its way, then a grant': [
    COPY,
    'control is killed and starts',
    'host-1 asks',
    'host-1 waits no longer',
    'host-2 asks',
    'what host-2 asked comes to control',
    'host-2 has its answer',
    ...grantTo('host-1'),
  ],
} as const;

/** 2026, or before the time from which epochs are counted. */
const WALL_MS = { right: 1_767_225_600_000, wrong: 0 } as const;

export function initialStates(scenario: Scenario, laws: Laws): ModelState[] {
  const wallMs = WALL_MS[scenario.isWallClockRight ? 'right' : 'wrong'];
  const ids = Array.from({ length: scenario.hosts }, (_, index) => `host-${index + 1}`);
  // The worst: control takes time for long, and every holder for short.
  const controlRates: Rate[] = scenario.rates === 'worst' ? ['fast'] : ['fast', 'slow'];
  const fastHosts = scenario.rates === 'worst' ? [0] : [0, ...ids.map((_, index) => index + 1)];
  return controlRates.flatMap((rate) =>
    fastHosts.map((fast): ModelState => {
      const empty = {
        control: newControl({ rate, bootMs: 0, wallMs, runId: 0 }, laws),
        hosts: ids.map((id, index) => newHost(id, index < fast ? 'fast' : 'slow')),
        requests: [],
        answers: [],
        faults: scenario.faults,
        highestGranted: 0,
        nextId: 1,
        isTimeStill: scenario.isTimeStill,
      };
      return BEGINNINGS[scenario.begins].reduce<ModelState>(
        (state, label) => follow(state, label, laws),
        empty,
      );
    }),
  );
}

function follow(state: ModelState, label: string, laws: Laws): ModelState {
  const step = stepsOf(state, laws).find((candidate) => candidate.label === label);
  if (step === undefined) throw new Error(`"${label}" cannot happen there`);
  return step.next;
}

export function breachOf({ hosts }: ModelState, laws: Laws): string | null {
  const believers = hosts.filter((host) => believedEpoch(host, laws) !== null);
  if (believers.length < 2) return null;
  const who = believers.map((host) => `${host.id} under ${believedEpoch(host, laws)}`);
  return `I7: ${who.join(' and ')} believe at one moment that they hold it`;
}

export function stepsOf(state: ModelState, laws: Laws): Step[] {
  return [
    ...(state.isTimeStill ? [] : [{ label: 'time goes on', next: afterStep(state, null) }]),
    ...state.hosts.flatMap((host) => hostSteps(state, host, laws)),
    ...state.requests.flatMap((request) => requestSteps(state, request, laws)),
    ...state.answers.map((answer) => ({
      label: `${answer.host} has its answer`,
      next: {
        ...withHost(state, answer.host, (before) => answered(before, answer, laws)),
        answers: state.answers.filter(({ id }) => id !== answer.id),
      },
    })),
    ...controlSteps(state, laws),
  ];
}

function afterStep(state: ModelState, suspended: string | null): ModelState {
  const { control, hosts } = state;
  return {
    ...state,
    control: {
      ...control,
      bootMs: control.bootMs + stepMs(control.rate),
      wallMs: control.wallMs === 0 ? 0 : control.wallMs + STEP_MS,
    },
    hosts: hosts.map((host) =>
      host.id === suspended ? host : { ...host, bootMs: host.bootMs + stepMs(host.rate) },
    ),
  };
}

function hostSteps(state: ModelState, host: HostSide, laws: Laws): Step[] {
  const { id } = host;
  const { faults } = state;
  const steps: Step[] = [];
  const go = (label: string, next: ModelState): void => void steps.push({ label, next });
  const wanted = wanting(host);
  if (wanted !== host) go(`${id} wants it`, replacing(state, wanted));
  if (host.awaiting === null) {
    if (hasToSay(state, host)) go(`${id} asks`, asked(state, host));
  } else go(`${id} waits no longer`, unanswered(state, { ...host, awaiting: null }));
  if (host.book.heldLease(RESOURCE) !== undefined || host.book.wantedEntry(RESOURCE) !== undefined)
    go(`${id} gives it up`, replacing(state, releasing(host)));
  if (faults.clockStepped > 0 && believedEpoch(host, laws) !== null) {
    const next = replacing(state, distrusting(host));
    go(`the wall clock of ${id} is stepped`, spent(next, 'clockStepped'));
  }
  if (faults.hostRestarted > 0) {
    for (const kind of ['process', 'machine'] as const) {
      const next = unanswered(state, restarted(host, kind));
      go(`the ${kind} of ${id} restarts`, spent(next, 'hostRestarted'));
    }
  }
  if (laws.clockStopsInSuspend) go(`${id} is suspended, time goes on`, afterStep(state, id));
  return steps;
}

/** A sync that asks for nothing, of a host that is known and knows nothing new, changes nothing. */
function hasToSay({ control }: ModelState, host: HostSide): boolean {
  const { renew, acquire, release } = host.book.copy().request(nowOf(host));
  return (
    renew.length + acquire.length + release.length > 0 ||
    control.unheard.includes(host.id) ||
    host.book.highestEpoch() > control.store.highestEpoch
  );
}

/** Of one host at most one question is on its way that nobody waits for: an earlier one is lost. */
function asked(state: ModelState, before: HostSide): ModelState {
  const { host, asked: leases } = asking(before, state.nextId);
  const request: Request = {
    id: state.nextId,
    host: host.id,
    highWaterEpoch: host.book.highestEpoch(),
    runId: host.runId,
    leases: {
      renew: [...leases.renew],
      acquire: [...leases.acquire],
      release: [...leases.release],
    },
  };
  const own = state.requests.filter((other) => other.host === host.id).slice(-1);
  const others = state.requests.filter((other) => other.host !== host.id);
  return {
    ...replacing(state, host),
    requests: [...others, ...own, request],
    nextId: state.nextId + 1,
  };
}

function requestSteps(state: ModelState, request: Request, laws: Laws): Step[] {
  const rest = state.requests.filter(({ id }) => id !== request.id);
  const isOld = rest.some(({ host, id }) => host === request.host && id > request.id);
  const what = `what ${request.host} asked ${isOld ? 'before ' : ''}comes to control`;
  const once = heard({ ...state, requests: rest }, request, laws);
  if (state.faults.twice === 0) return [{ label: what, ...once }];
  const again = heard(spent(state, 'twice'), request, laws);
  return [
    { label: what, ...once },
    { label: `${what}, and will again`, ...again },
  ];
}

function heard(state: ModelState, request: Request, laws: Laws): Omit<Step, 'label'> {
  const { control, decision } = takeSync(state.control, request, laws);
  const sender = state.hosts.find(({ id }) => id === request.host);
  const isAwaited = sender?.awaiting?.id === request.id;
  const { id, host } = request;
  const answers = state.answers.filter((other) => other.id !== id);
  const next = {
    ...state,
    control,
    answers: isAwaited
      ? [...answers, { id, host, answer: decision, runId: control.runId }]
      : answers,
  };
  const epoch = decision.transitions.find(({ kind }) => kind === 'granted')?.epoch ?? null;
  if (epoch === null) return { next };
  const granted = { ...next, highestGranted: Math.max(epoch, state.highestGranted) };
  const breach = grantBreach(state, { host, epoch }, laws);
  return breach === null ? { next: granted } : { next: granted, breach };
}

function grantBreach(
  { hosts, highestGranted }: ModelState,
  grant: { readonly host: string; readonly epoch: number },
  laws: Laws,
): string | null {
  if (grant.epoch <= highestGranted)
    return `I6: ${grant.host} is granted epoch ${grant.epoch}, and ${highestGranted} has been granted`;
  const owner = hosts.find((host) => host.id !== grant.host && believedEpoch(host, laws) !== null);
  if (owner === undefined) return null;
  return `I7: ${grant.host} is granted it while ${owner.id} believes that it holds it`;
}

function controlSteps(state: ModelState, laws: Laws): Step[] {
  const { control, faults } = state;
  const { store, floor, mark, copy } = control;
  const present = { store, floor, mark };
  const hosts = state.hosts.map(({ id }) => id);
  // A start takes longer than a millisecond.
  const wallMs = control.wallMs === 0 ? 0 : control.wallMs + 1;
  const started = (disk: typeof present | NonNullable<typeof copy>): ModelState => {
    const machine = { ...control, wallMs, runId: state.nextId };
    return {
      ...state,
      control: startRun(machine, disk, hosts, laws),
      nextId: state.nextId + 1,
    };
  };
  const steps: Step[] = [];
  if (faults.controlKilled > 0) {
    const next = spent(started(present), 'controlKilled');
    steps.push({ label: 'control is killed and starts', next });
  }
  if (faults.copied > 0) {
    const next = { ...state, control: { ...control, copy: present } };
    steps.push({ label: 'a copy is made of the disk of control', next: spent(next, 'copied') });
  }
  if (copy !== null && faults.restoredDatabase > 0) {
    const next = started({ ...present, store: copy.store });
    const label = 'control starts on the copy of its database';
    steps.push({ label, next: spent(next, 'restoredDatabase') });
  }
  if (copy !== null && faults.restoredAll > 0) {
    const label = 'control starts on the copy of its whole disk';
    steps.push({ label, next: spent(started(copy), 'restoredAll') });
  }
  return steps;
}

function spent(state: ModelState, fault: keyof Faults): ModelState {
  return { ...state, faults: { ...state.faults, [fault]: state.faults[fault] - 1 } };
}

function replacing(state: ModelState, host: HostSide): ModelState {
  return withHost(state, host.id, () => host);
}

function unanswered(state: ModelState, host: HostSide): ModelState {
  const next = replacing(state, host);
  return { ...next, answers: state.answers.filter((other) => other.host !== host.id) };
}

function withHost(state: ModelState, id: string, change: (host: HostSide) => HostSide): ModelState {
  return { ...state, hosts: state.hosts.map((host) => (host.id === id ? change(host) : host)) };
}
