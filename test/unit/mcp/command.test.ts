/** What `holdfast mcp` says of flags that cannot work, before it starts anything. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommand } from '../../../control/cli/program.ts';

let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'mcp-flags-'));
  writeFileSync(join(cwd, 'short'), 'short', { mode: 0o600 });
  writeFileSync(join(cwd, 'open'), 'a-token-of-the-tests', { mode: 0o644 });
  writeFileSync(join(cwd, 'map.yaml'), 'tools: { a: { acton: b } }');
});
afterAll(() => rmSync(cwd, { recursive: true }));

async function failure(flags: readonly string[]): Promise<{ exitCode: number; said: string }> {
  let said = '';
  const write = (text: string): void => void (said += text);
  const argv = ['mcp', '--principal', 'agent:desk', ...flags];
  const exitCode = await runCommand({ argv, env: {}, cwd, stdout: { write }, stderr: { write } });
  return { exitCode, said };
}

const NAMELESS = ['--upstream-url', 'http://127.0.0.1:1/mcp'];
const URL_FLAG = [...NAMELESS, '--server', 'crm'];
const LISTEN = [...URL_FLAG, '--listen', '127.0.0.1:0'];

test.for([
  [[], 'name one server'],
  [[...URL_FLAG, '--', 'true'], 'name one server'],
  [['--upstream-url', 'ftp://x'], 'not an http or https address'],
  [['--pass-env', 'NOT_SET', '--', 'true'], 'it is not set'],
  [['--server', 'My Server', '--', 'true'], 'no name for actions'],
  [['--map', 'map.yaml', '--', 'true'], 'did you mean action?'],
  [['--call-timeout', '5', '--', 'true'], 'write it with a unit'],
  [['--message-bytes-max', '12', '--', 'true'], 'at least 1024'],
  [NAMELESS, 'name the server with --server'],
  [LISTEN, 'needs --client-token-file'],
  [[...LISTEN, '--client-token-file', 'short'], 'needs 16 or more'],
  [[...LISTEN, '--client-token-file', 'open'], 'chmod 0640'],
  [[...URL_FLAG, '--listen', '7500'], 'is not host:port'],
  [[...URL_FLAG, '--listen', '0.0.0.0:7500'], 'not a loopback address'],
  [[...URL_FLAG, '--client-token-file', 'open'], 'for --listen, which is not given'],
] as const)('%j: says what is wrong, and the way out', async ([flags, words]) => {
  const { exitCode, said } = await failure(flags);
  expect(exitCode).toBe(2);
  expect(said).toContain(words);
});
