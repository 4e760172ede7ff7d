import { describe, expect, test } from 'vitest';
import { sidecarHealth, type HealthInput } from '../../../dataplane/health.ts';
import type { HealthPart } from '../../../shared/wire/health.ts';

const none = { count: 0, oldestMs: null };
const QUIET = { executing: none, paused: none, stuck: none, unknown: none, reconciling: none };

const input: HealthInput = {
  status: {
    hostId: 'host_1',
    hostName: 'h1',
    version: '0',
    control: {
      url: 'http://127.0.0.1:1',
      state: 'connected',
      lastAttemptMs: 0,
      lastSuccessMs: 0,
      lastError: null,
      outage: null,
    },
    policy: { activeRevision: 1, digest: 'd', activatedAtMs: 0, stalenessMs: 0, rejected: null },
    leases: { held: 0, wanted: 0 },
    journal: { seq: 3, hash: 'h', ackedSeq: 3, operations: {} },
  },
  work: QUIET,
  expiredConfig: { count: 0, of: 0 },
  revoked: null,
  staleRules: { bounded: 1, expired: 0 },
  notices: { inForce: 2, isUnknown: false },
  queueLength: 2,
  writeWait: { ms: 0, isShedding: false },
  disk: { pressure: 'ample', detail: '9 GiB are free', sinceMs: null },
  quarantine: null,
  isReadOnly: false,
  reportsStopped: null,
  nowMs: 1,
};

const partOf = (name: string, over: Partial<HealthInput>): HealthPart | undefined =>
  sidecarHealth({ ...input, ...over }).dataPlane.parts[name];

describe('I10: the disk is told under the data plane, and what it means for new work', () => {
  test('nothing is wrong', () => {
    expect(sidecarHealth(input).dataPlane.verdict).toBe('ok');
    expect(partOf('disk', {})).toMatchObject({ state: 'ok', detail: '9 GiB are free' });
  });

  test.each(['soft', 'hard'] as const)(
    '%s: degraded since then, and the plane is impaired',
    (pressure) => {
      const disk = { pressure, detail: '1 byte is free', sinceMs: 7 };
      expect(partOf('disk', { disk })).toMatchObject({
        state: 'degraded',
        detail: 'new work is refused: 1 byte is free',
        sinceMs: 7,
      });
      expect(sidecarHealth({ ...input, disk }).dataPlane.verdict).toBe('impaired');
      expect(sidecarHealth({ ...input, disk }).controlPlane.verdict).toBe('ok');
    },
  );

  test('a slow disk is a degraded journal only while new work is refused for it', () => {
    const waits = (isShedding: boolean) => ({ writeWait: { ms: 3_000, isShedding } });
    expect(partOf('journal', waits(false))).toMatchObject({ state: 'ok' });
    expect(partOf('journal', waits(true))).toMatchObject({
      state: 'degraded',
      detail: expect.stringMatching(/new work is refused: the disk is slow, a write would wait 3s/),
    });
  });

  test('a read-only journal is not called damaged, nor a damaged one read-only', () => {
    const quarantine = 'why';
    const readOnly = partOf('journal', { quarantine, isReadOnly: true });
    expect(readOnly).toMatchObject({ state: 'failed', detail: 'read-only: why' });
    expect(partOf('journal', { quarantine })).toMatchObject({ detail: 'quarantined: why' });
  });
});

test('I5: damaged notices are told as what keeps new work out', () => {
  expect(partOf('notices', {})).toMatchObject({ state: 'ok', detail: '2 in force' });
  const notices = { inForce: 0, isUnknown: true };
  expect(partOf('notices', { notices })).toMatchObject({
    state: 'degraded',
    detail: expect.stringContaining('nothing is admitted') as string,
  });
  expect(sidecarHealth({ ...input, notices }).dataPlane.verdict).toBe('impaired');
});
