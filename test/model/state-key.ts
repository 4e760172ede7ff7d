/**
 * When two states are the same for all that can still happen. Times count from now, and an end that
 * has passed is one that has passed; of epochs only the order counts, and whether one follows the
 * other; runs are this one or another; hosts of the same history are one
 * another's mirror image.
 */
import { wallEpoch, type Floor } from '../../control/core/floors.ts';
import type { LeaseRecord } from '../../control/core/lease-transition.ts';
import { holderEndMs } from '../../shared/core/lease.ts';
import type { LeaseRequest } from '../../dataplane/core/lease-book.ts';
import { TERM_MS, type Disk } from './control-side.ts';
import { nowOf, wants, type HostSide } from './host-side.ts';
import type { Answer, ModelState, Request } from './lease-model.ts';
import { DRIFT, RESOURCE, TTL_MS } from './terms.ts';

/** Order, and whether a number is the next one. */
const GAP_MAX = 2;

const HOLDER_TERM_MS = holderEndMs(0, TTL_MS, DRIFT);

type Places = (epoch: number) => number;

export function keyOf(state: ModelState): string {
  const place = placesOf(state);
  const { control, faults } = state;
  const run = control.store.run;
  const hosts = state.hosts.map((host) => hostKey(state, host, place)).toSorted();
  const age = (sinceMs: number): number => Math.min(control.bootMs - sinceMs, TERM_MS);
  return [
    control.rate,
    diskKey(control, place),
    place(control.epochAtStart),
    place(control.storedAtStart),
    control.kind,
    age(control.startedMs),
    age(control.rollbackSinceMs),
    leftMs(control.store.record, run, control.bootMs),
    control.copy === null ? '-' : diskKey(control.copy, place),
    place(state.highestGranted),
    place(wallEpoch(control.wallMs)),
    Object.values(faults).join(),
    ...hosts,
  ].join('|');
}

function hostKey(state: ModelState, host: HostSide, place: Places): string {
  const { id, book, awaiting } = host;
  const { control } = state;
  const lease = book.heldLease(RESOURCE);
  const now = nowOf(host);
  const age = (sinceMs: number): number => Math.min(now.bootMs - sinceMs, HOLDER_TERM_MS);
  const isHolder = (record: LeaseRecord | undefined): boolean => record?.holder.hostId === id;
  const known = book.epochs().find(({ resource }) => resource === RESOURCE)?.epoch ?? 0;
  const requests = state.requests.filter((request) => request.host === id);
  const answers = state.answers.filter((answer) => answer.host === id);
  return [
    host.rate,
    lease === undefined
      ? '-'
      : `${place(lease.epoch)}:${Math.max(0, lease.endsBootMs - now.bootMs)}`,
    wants(host),
    host.isCancelled,
    releasesOf(book.copy().request(now), place),
    place(known),
    place(book.highestEpoch()),
    awaiting === null ? '-' : `${age(awaiting.sentAt.bootMs)}:${refsOf(awaiting.asked, place)}`,
    isHolder(control.store.record),
    isHolder(control.copy?.store.record),
    control.unheard.includes(id),
    host.runId === control.runId,
    ...requests.map(
      (request) => `${requestKey(request, awaiting?.id, place)}${request.runId === control.runId}`,
    ),
    ...answers.map((answer) => `${answerKey(answer, place)}${answer.runId === control.runId}`),
  ].join(';');
}

function requestKey(request: Request, awaited: number | undefined, place: Places): string {
  const isAwaited = request.id === awaited;
  return `?${isAwaited}${refsOf(request.leases, place)}^${place(request.highWaterEpoch)}`;
}

function answerKey({ answer }: Answer, place: Places): string {
  const refs = answer.leases.map(({ epoch }) => place(epoch)).join();
  const lost = answer.lost.map(({ epoch, reason }) => `${place(epoch)}${reason}`).join();
  return `!${refs}/${lost}`;
}

function refsOf(asked: Pick<LeaseRequest, 'renew' | 'acquire' | 'release'>, place: Places): string {
  const renewed = asked.renew.map(({ epoch }) => place(epoch)).join();
  return `${renewed}/${asked.acquire.length}/${releasesOf(asked, place)}`;
}

function releasesOf({ release }: Pick<LeaseRequest, 'release'>, place: Places): string {
  return release.map(({ epoch }) => place(epoch)).join();
}

function diskKey({ store, floor, mark }: Disk, place: Places): string {
  const { run, highestEpoch, record } = store;
  return [
    place(highestEpoch),
    place(mark),
    floor === null ? '-' : floorKey(floor, run, place),
    record === undefined ? '-' : `${place(record.epoch)}${record.state}${record.run === run}`,
  ].join();
}

function floorKey(
  { run, epoch, disownedEpoch, recovering }: Floor,
  ofStore: number,
  place: Places,
) {
  return `${Math.sign(run - ofStore)}${place(epoch)}${place(disownedEpoch)}${recovering}`;
}

/** Of a lease of this run; one of before counts from the start of the run, and ends with it. */
function leftMs(record: LeaseRecord | undefined, run: number, bootMs: number): number {
  if (record === undefined || record.state === 'released' || record.run !== run) return 0;
  return Math.max(0, record.endsBootMs - bootMs);
}

function placesOf(state: ModelState): Places {
  const { control, hosts, requests, answers } = state;
  const ofDisk = ({ store, floor, mark }: Disk): number[] => {
    const { epoch = 0, disownedEpoch = 0 } = floor ?? {};
    return [store.highestEpoch, store.record?.epoch ?? 0, mark, epoch, disownedEpoch];
  };
  const ofRequest = ({ renew, release }: Pick<LeaseRequest, 'renew' | 'release'>): number[] =>
    [...renew, ...release].map(({ epoch }) => epoch);
  const epochs = [
    0,
    state.highestGranted,
    wallEpoch(control.wallMs),
    control.epochAtStart,
    control.storedAtStart,
    ...ofDisk(control),
    ...(control.copy === null ? [] : ofDisk(control.copy)),
    ...hosts.flatMap(({ book, awaiting }) => [
      book.highestEpoch(),
      ...book.epochs().map(({ epoch }) => epoch),
      ...book.held().map(({ epoch }) => epoch),
      ...ofRequest(book.copy().request({ bootMs: 0, wallMs: 0, bootId: '' })),
      ...(awaiting === null ? [] : ofRequest(awaiting.asked)),
    ]),
    ...requests.flatMap(({ leases, highWaterEpoch }) => [highWaterEpoch, ...ofRequest(leases)]),
    ...answers.flatMap(({ answer }) =>
      [...answer.leases, ...answer.lost].map(({ epoch }) => epoch),
    ),
  ].toSorted((a, b) => a - b);
  const places = new Map<number, number>();
  let place = 0;
  let before = 0;
  for (const epoch of epochs) {
    place += Math.min(epoch - before, GAP_MAX);
    places.set(epoch, place);
    before = epoch;
  }
  return (epoch) => places.get(epoch) ?? -1;
}
