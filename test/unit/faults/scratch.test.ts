/** What a run that was killed has left is told and taken away; what is anybody else's is not touched. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { clearLeftovers, scratchDirectory } from '../../faults/scratch.ts';
import { isGone, Undo } from '../../faults/undo.ts';

const IMPORTS = ['scratch', 'undo'].map(
  (name) => new URL(`../../faults/${name}.ts`, import.meta.url).href,
);
/** A run that sets up a directory and a program that works in it, says so, and goes on. */
const RUN = `
import { spawn } from 'node:child_process';
import { scratchDirectory } from '${IMPORTS[0]}';
import { Undo } from '${IMPORTS[1]}';
const { root } = scratchDirectory(new Undo(), 'trial');
const { pid } = spawn('sleep', ['600'], { env: { DATA_DIR: root + '/data' }, stdio: 'ignore' });
console.log(JSON.stringify({ root, pid }));
setInterval(() => undefined, 1_000);
`;

let before: string | undefined;
let temporary: string;

beforeEach(() => {
  before = process.env['TMPDIR'];
  temporary = mkdtempSync(join(tmpdir(), 'scratch-'));
  process.env['TMPDIR'] = temporary;
});
afterEach(() => {
  if (before === undefined) delete process.env['TMPDIR'];
  else process.env['TMPDIR'] = before;
  rmSync(temporary, { recursive: true });
});

async function startRun() {
  const run = spawn(process.execPath, ['--input-type=module', '-e', RUN], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(run.stdout), 'line')) as [string];
  return { run, ...(JSON.parse(line) as { root: string; pid: number }) };
}

test('the directory and the processes of a run are left alone while it goes on, and go once it was killed', async () => {
  const { run, root, pid } = await startRun();
  const said: string[] = [];
  clearLeftovers((text) => said.push(text));
  expect({ said, isThere: existsSync(root), isGone: isGone(pid) }).toEqual({
    said: [],
    isThere: true,
    isGone: false,
  });
  const ended = once(run, 'close');
  run.kill('SIGKILL');
  await ended;
  expect(isGone(pid)).toBe(false);
  clearLeftovers((text) => said.push(text));
  expect(said).toEqual([
    `a run that was killed had left ${root}, 1 processes and 0 mounts: taken away`,
  ]);
  expect({ isThere: existsSync(root), isGone: isGone(pid) }).toEqual({
    isThere: false,
    isGone: true,
  });
});

test('a run that ends takes its own away itself', () => {
  const undo = new Undo();
  const first = scratchDirectory(undo, 'trial');
  scratchDirectory(undo, 'trial');
  expect(readdirSync(temporary)).toHaveLength(2);
  first.remove();
  expect(readdirSync(temporary)).toHaveLength(1);
  undo.undoAll();
  expect(readdirSync(temporary)).toEqual([]);
});

test('what was made among other processes, or is called otherwise, is not touched', () => {
  const names = ['holdfast-trial-1-zzz-elsewhere1-abcdef', 'holdfast-demo-abcdef', 'other'];
  for (const name of names) mkdirSync(join(temporary, name));
  clearLeftovers((text) => expect.fail(text));
  expect(readdirSync(temporary).toSorted()).toEqual(names.toSorted());
});
