/** I1 to I12, over the whole fleet in simulation: as many seeds as a change is worth. */
import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import type { CampaignReport } from '../simulation/campaign.ts';
import { PROMISES } from '../simulation/history.ts';
import { REGRESSIONS } from '../simulation/regressions.ts';

const SEEDS = 200;
/** Of simulated time in which faults happen; the time to come to rest is added. */
const MINUTES = 2;
const AT_QUICK = ['--pace', 'quick', '--seed'];
const BOUND_MS = 600_000;

/** In processes of its own: the simulator replaces the clocks of the one that it runs in. */
function simulate(
  ...options: string[]
): Promise<{ code: number | null; out: string; said: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['test/simulation/main.ts', ...options]);
    let out = '';
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    child.on('close', (code) => resolve({ code, out, said }));
  });
}

test(
  `I1 to I12 hold over ${SEEDS} seeds, and each is really held against something`,
  async () => {
    const options = ['--seeds', `${SEEDS}`, '--minutes', `${MINUTES}`, '--json'];
    const { code, out, said } = await simulate(...options);
    expect(out, said).not.toBe('');
    const report = JSON.parse(out) as CampaignReport;
    expect(report.failed, said).toEqual([]);
    expect(code).toBe(0);
    for (const promise of PROMISES) expect(report.checks[promise], promise).toBeGreaterThan(0);
    expect(Object.keys(report.hashes)).toHaveLength(SEEDS);
  },
  BOUND_MS,
);

test(
  'the same seed gives the same history, byte for byte, in another process and after other seeds',
  async () => {
    const minutes = ['--minutes', `${MINUTES}`, '--json'];
    const alone = await simulate('--seed', '7', ...minutes);
    const among = await simulate('--seeds', '3', '--from', '5', '--workers', '1', ...minutes);
    const { hash } = JSON.parse(alone.out) as { hash: string };
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect((JSON.parse(among.out) as CampaignReport).hashes[7]).toBe(hash);
  },
  BOUND_MS,
);

test.each(REGRESSIONS)(
  'seed $seed over $minutes minutes, which once showed something, holds',
  async ({ seed, minutes }) => {
    const { code, out, said } = await simulate(...AT_QUICK, `${seed}`, '--minutes', `${minutes}`);
    expect(code, `${out}${said}`).toBe(0);
  },
  BOUND_MS,
);

test('what is no number is refused, with the way it is used', async () => {
  const { code, said } = await simulate('--seeds', 'many');
  expect(code).toBe(2);
  expect(said).toContain('--seeds many: a number from 1 to');
  expect((await simulate('--help')).code).toBe(0);
});
