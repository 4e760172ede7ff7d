/** A claim and `kill -9`, at every moment between its transaction and its answer. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ClaimAnswer } from '../../shared/wire/claim-api.ts';
import { CLAIM, CLAIM_THEN_DIE } from '../fakes/claim-then-die.ts';
import { openTestSidecar } from '../fakes/sidecar-app.ts';
import { callerOf } from '../fakes/sidecar-caller.ts';

/** Two admissions, each in a batch of its own; the third is of the claim. */
const MOMENTS = [
  ['journal.before_commit=kill@3', false],
  ['journal.after_commit=kill@3', true],
  ['journal.before_answers=kill@3', true],
  ['claim.after_answer=kill@1', true],
] as const;

test.concurrent.for(MOMENTS)(
  'I1, I9: killed at %s, the key brings back its claim, and nobody else gets it',
  { timeout: 120_000 },
  async ([failpoints, isTaken]) => {
    const directory = mkdtempSync(join(tmpdir(), 'claims-kill-'));
    const child = spawn(process.execPath, [CLAIM_THEN_DIE, directory, failpoints], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    expect((await once(child, 'exit'))[1]).toBe('SIGKILL');
    const sidecar = await openTestSidecar({ directory });
    const { call } = callerOf(() => sidecar);
    const claim = async (key: string): Promise<[unknown, number[]]> => {
      const answer = await call('POST', '/v1/operations:claim', {
        ...CLAIM,
        headers: { 'idempotency-key': key },
      });
      const attempts = answer.json<ClaimAnswer>().items.map(({ attempt }) => attempt.attempt);
      return [answer.headers['idempotency-replayed'], attempts];
    };
    const other = await claim('another');
    const same = await claim('k');
    const [held, none] = [
      ['true', [1, 1]],
      [undefined, []],
    ];
    expect([other, same]).toEqual(isTaken ? [none, held] : [[undefined, [1, 1]], none]);
    await sidecar.close();
    rmSync(directory, { recursive: true });
  },
);
