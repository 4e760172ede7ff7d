import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { exportTo } from '../../../control/cli/export-file.ts';

let cwd: string;
let dir: string;
let stdout: PassThrough;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdfast-export-'));
});
afterAll(() => rmSync(dir, { recursive: true }));
beforeEach(() => {
  cwd = mkdtempSync(join(dir, 'cwd-'));
  stdout = new PassThrough();
});

async function* chunks(count: number, failure?: Error): AsyncGenerator<string> {
  for (let n = 0; n < count; n += 1) {
    await Promise.resolve();
    yield `${n} ${'ü'.repeat(20_000)}\n`;
  }
  if (failure !== undefined) throw failure;
}

async function textOf(stream: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
}

test('the file has what was streamed, and no other is left beside it', async () => {
  await exportTo({ cwd, stdout }, 'out', chunks(50));
  expect(readFileSync(join(cwd, 'out'), 'utf8')).toBe(await textOf(chunks(50)));
  expect(readdirSync(cwd)).toEqual(['out']);
});

test.each([0, 1, 50])(
  'a stream that fails after %i chunks leaves no file, now or later',
  async (count) => {
    const failure = new Error('the host is gone');
    await expect(exportTo({ cwd, stdout }, 'out', chunks(count, failure))).rejects.toBe(failure);
    expect(readdirSync(cwd)).toEqual([]);
    // What was still to be opened would be opened now: these go through the same queue after it.
    for (let n = 0; n < 8; n += 1)
      await exportTo({ cwd: dir, stdout }, `after-${count}-${n}`, chunks(1));
    expect(readdirSync(cwd)).toEqual([]);
  },
);

test('what a killed export left is written over, a finished one is not', async () => {
  writeFileSync(join(cwd, 'out.partial'), 'x'.repeat(1_000_000));
  await exportTo({ cwd, stdout }, 'out', chunks(1));
  expect(readFileSync(join(cwd, 'out'), 'utf8')).toBe(await textOf(chunks(1)));
  const again = exportTo({ cwd, stdout }, 'out', chunks(2));
  await expect(again).rejects.toMatchObject({ code: 'file_exists' });
  expect(existsSync(join(cwd, 'out.partial'))).toBe(false);
});

test('a place that cannot be written is told with its cause', async () => {
  const failed = exportTo({ cwd, stdout }, 'no/where', chunks(1));
  await expect(failed).rejects.toMatchObject({
    code: 'file_unwritable',
    message: 'cannot write no/where: ENOENT',
  });
});

test('to standard output it waits for whoever reads slowly', async () => {
  const written = exportTo({ cwd, stdout }, '-', chunks(50)).then(() => stdout.end());
  stdout.setEncoding('utf8');
  expect(await textOf(stdout)).toBe(await textOf(chunks(50)));
  await written;
});
