/** What control's store was made to hold of leases, and what a start only found in it. */
import { CONTROL, type EventOf, type History } from '../history.ts';

/** `isFound`: nobody gave it then; a copy that was put back has it, or a crash left it untold. */
export type LeaseWrite = EventOf<'lease_written'> & { readonly isFound: boolean };

export function leaseWrites({ events }: History): LeaseWrite[] {
  const writes: LeaseWrite[] = [];
  let isFound = false;
  for (const event of events) {
    if (event.kind === 'daemon_ended' && event.node === CONTROL) isFound = true;
    if (event.kind === 'daemon_started' && event.node === CONTROL) isFound = false;
    if (event.kind === 'lease_written') writes.push({ ...event, isFound });
  }
  return writes;
}
