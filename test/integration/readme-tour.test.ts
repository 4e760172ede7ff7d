/**
 * The README's tour, run as it stands: every command in one shell, every answer held against what
 * is printed there. Only the addresses differ, so that the test disturbs nobody who has the daemons
 * running.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerPattern, readmeSteps } from './readme-steps.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CLI = join(ROOT, 'control/cli/main.ts');

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

let directory: string;
let dev: ChildProcess;
let ports: { control: number; sidecar: number };
let shell: ChildProcess;
let shellLines: AsyncIterator<string>;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tour-'));
  ports = { control: await freePort(), sidecar: await freePort() };
  // `npx holdfast` as it is in a checkout, from a directory that is none.
  mkdirSync(join(directory, 'bin'));
  writeFileSync(
    join(directory, 'bin/npx'),
    `#!/bin/sh\nshift\nexec "${process.execPath}" "${CLI}" "$@"\n`,
  );
  chmodSync(join(directory, 'bin/npx'), 0o755);
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_')),
  );
  env['PATH'] = `${join(directory, 'bin')}:${process.env['PATH']}`;
  dev = spawn(
    process.execPath,
    [CLI, 'dev', '--control-port', String(ports.control), '--sidecar-port', String(ports.sidecar)],
    { cwd: directory, env, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  if (dev.stdout === null) throw new Error('no output');
  for await (const line of createInterface({ input: dev.stdout }))
    if (line.includes('Ctrl-C')) break;
  dev.stdout.resume();
  shell = spawn('bash', ['--norc'], { cwd: directory, env, stdio: ['pipe', 'pipe', 'inherit'] });
  if (shell.stdout === null) throw new Error('no output');
  shellLines = createInterface({ input: shell.stdout })[Symbol.asyncIterator]();
}, 60_000);

afterAll(async () => {
  shell.stdin?.end();
  const stopped = once(dev, 'exit');
  dev.kill('SIGINT');
  expect(await stopped).toEqual([0, null]);
  rmSync(directory, { recursive: true });
}, 60_000);

async function run(command: string): Promise<string> {
  const here = command
    .replaceAll(':7480', `:${ports.control}`)
    .replaceAll(':7490', `:${ports.sidecar}`);
  shell.stdin?.write(`${here}\necho; echo "--done--"\n`);
  const lines: string[] = [];
  for (
    let next = await shellLines.next();
    next.done !== true && next.value !== '--done--';
    next = await shellLines.next()
  )
    lines.push(next.value.trimEnd());
  return lines
    .join('\n')
    .trim()
    .replaceAll(`:${ports.control}`, ':7480')
    .replaceAll(`:${ports.sidecar}`, ':7490');
}

test.each([
  ['tour', 20],
  ['fleet', 9],
])(
  'every command of the %s answers as the README says',
  async (section, least) => {
    const steps = readmeSteps(section);
    expect(steps.length).toBeGreaterThan(least);
    for (const { command, expected } of steps)
      expect(await run(command), `$ ${command}`).toMatch(answerPattern(expected));
  },
  120_000,
);
