/** A claim and `kill -9`, at every moment between its transaction and its answer. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CLAIM_KILLS, runClaimKill } from '../faults/campaigns/failpoints-claim.ts';
import { Undo } from '../faults/undo.ts';

test.concurrent.for(CLAIM_KILLS)(
  'I1, I9: killed at $point, the key brings back its claim, and nobody else gets it',
  { timeout: 120_000 },
  async (kill) => {
    const root = mkdtempSync(join(tmpdir(), 'claims-kill-'));
    const undo = new Undo();
    try {
      const { problems, report } = await runClaimKill(kill, { root, undo });
      expect(problems).toEqual([]);
      expect(report?.killedAt).toBe(kill.point);
    } finally {
      undo.undoAll();
      rmSync(root, { recursive: true });
    }
  },
);
