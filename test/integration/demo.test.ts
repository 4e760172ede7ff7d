/** The outage story as a user runs it, on the file of orders that comes with the project. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { Report } from '../../deploy/examples/orders/report.ts';
import { makeOrders, parseOrders } from '../../deploy/examples/orders/order-file.ts';

const DEMO = fileURLToPath(new URL('../../deploy/examples/orders/demo.ts', import.meta.url));

async function runDemo(args: readonly string[]): Promise<{ code: number | null; report: Report }> {
  const child = spawn(process.execPath, [DEMO, '--json', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, report: JSON.parse(output) as Report };
}

test('I1 to I12: two thousand orders through one outage: none lost, none doubled, none told wrong', async () => {
  const { code, report } = await runDemo([]);
  expect(report).toMatchObject({
    lost: [],
    doubled: [],
    toldWrong: [],
    recoveryWrong: [],
    staleOwnerFenced: true,
  });
  expect(code).toBe(0);
  // The story must have had everything in it that it is told for.
  expect(report.linesRead).toBeGreaterThanOrEqual(2_000);
  for (const count of [
    report.badLines.length,
    report.admitted,
    report.refusedByRule,
    report.deduplicated,
    report.conflicting,
    report.executedWhileControlWasDown,
    report.refusedForFreshAuthority,
    report.askedAgain,
    report.settledByProbe,
    report.recoveryEntries,
    report.recovery.acceptedBefore.count,
    report.recovery.continued.count,
    report.recovery.stopped.count,
    report.recovery.refused.count,
  ]) {
    expect(count).toBeGreaterThan(0);
  }
  expect(report.recovery).toMatchObject({ verdict: 'settled' });
}, 300_000);

test('the same seed makes the same file, another seed another', () => {
  expect(makeOrders(3, 2_000)).toBe(makeOrders(3, 2_000));
  expect(makeOrders(3, 2_000)).not.toBe(makeOrders(4, 2_000));
  const lines = parseOrders(makeOrders(3, 2_000));
  expect(lines.length).toBeGreaterThanOrEqual(2_000);
  expect(lines.some(({ ok }) => !ok)).toBe(true);
});
