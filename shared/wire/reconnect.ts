/** What a sidecar says and hears when control takes back only as many hosts as it can serve. */

/**
 * On a sync: milliseconds until the first of its leases ends for the host that holds them; left out
 * where it holds none in time. Control lets such a host in first, and never asks it to wait past
 * that end.
 */
export const LEASE_ENDS_HEADER = 'holdfast-lease-ends-ms';

export function parseLeaseEnds(text: string | undefined): number | null {
  return text !== undefined && /^[0-9]{1,9}$/.test(text) ? Number(text) : null;
}
