import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connectionTo } from '../../../control/cli/connections.ts';
import { readDevState, writeDevState } from '../../../control/cli/dev/dev-state.ts';

let cwd: string;

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'holdfast-'));
});

afterEach(() => {
  rmSync(cwd, { recursive: true });
});

function file(name: string, text: string): string {
  writeFileSync(join(cwd, name), text);
  return join(cwd, name);
}

function leaveDevState(): void {
  const dataDir = join(cwd, '.holdfast');
  mkdirSync(dataDir);
  writeDevState(dataDir, {
    controlUrl: 'http://127.0.0.1:1111',
    controlTokenFile: file('admin.token', 'admin\n'),
    sidecarUrl: 'http://127.0.0.1:2222',
    sidecarTokenFile: file('app.token', 'app\n'),
    supervisor: null,
  });
}

test('without anything set the standard addresses are used, without a token', () => {
  expect(connectionTo('control', {}, { env: {}, cwd })).toMatchObject({
    endpoint: 'http://127.0.0.1:7480',
    token: null,
    origin: 'default',
  });
  expect(connectionTo('sidecar', {}, { env: {}, cwd })).toMatchObject({
    endpoint: 'http://127.0.0.1:7490',
    token: null,
  });
});

test('flags come before the environment, and that before holdfast dev', () => {
  leaveDevState();
  const env = { HOLDFAST_CONTROL_URL: 'http://env:1', HOLDFAST_CONTROL_TOKEN: 'of-env' };

  expect(connectionTo('control', {}, { env: {}, cwd })).toMatchObject({
    endpoint: 'http://127.0.0.1:1111',
    token: 'admin',
    origin: 'dev',
  });
  expect(connectionTo('control', {}, { env, cwd })).toMatchObject({
    endpoint: 'http://env:1',
    token: 'of-env',
    origin: 'environment',
  });
  expect(
    connectionTo(
      'control',
      { control: 'http://flag:1', controlTokenFile: file('flag.token', 'of-flag') },
      { env, cwd },
    ),
  ).toMatchObject({ endpoint: 'http://flag:1', token: 'of-flag', origin: 'flag' });
});

test('the token of holdfast dev goes to its own daemons and nowhere else', () => {
  leaveDevState();

  expect(
    connectionTo('control', { control: 'http://elsewhere:1' }, { env: {}, cwd }).token,
  ).toBeNull();
  expect(
    connectionTo('sidecar', { sidecar: 'http://127.0.0.1:2222' }, { env: {}, cwd }).token,
  ).toBe('app');
});

test('a sidecar can be named by its Unix socket', () => {
  expect(connectionTo('sidecar', { sidecar: 'unix:/run/s.sock' }, { env: {}, cwd }).target).toEqual(
    { url: 'http://localhost', socketPath: '/run/s.sock' },
  );
});

describe('is refused with the way out', () => {
  test('an address that is none', () => {
    expect(() => connectionTo('control', { control: 'control:7480' }, { env: {}, cwd })).toThrow(
      /use http:\/\/host:port/,
    );
  });

  test('two tokens at once', () => {
    const env = { HOLDFAST_SIDECAR_TOKEN: 'a', HOLDFAST_SIDECAR_TOKEN_FILE: 'b' };
    expect(() => connectionTo('sidecar', {}, { env, cwd })).toThrow(/both set: unset one/);
  });

  test('a token file that is missing or empty', () => {
    expect(() => connectionTo('control', { controlTokenFile: 'none' }, { env: {}, cwd })).toThrow(
      /cannot read the token file .*none: ENOENT/,
    );
    expect(() =>
      connectionTo('control', { controlTokenFile: file('empty', ' \n') }, { env: {}, cwd }),
    ).toThrow(/is empty/);
  });
});

describe('the state that holdfast dev leaves', () => {
  test('is readable by its owner only', () => {
    leaveDevState();
    expect(statSync(join(cwd, '.holdfast', 'dev.json')).mode & 0o777).toBe(0o600);
  });

  test.each(['', '{', '{}', '{"controlUrl": 5}'])('counts as none where it reads %j', (text) => {
    writeFileSync(join(cwd, 'dev.json'), text);
    chmodSync(join(cwd, 'dev.json'), 0o600);
    expect(readDevState(cwd)).toBeNull();
  });
});
