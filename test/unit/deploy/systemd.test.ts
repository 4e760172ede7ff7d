import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { programTest } from '../../skips.ts';
import { REPOSITORY_ROOT, findFiles, readText } from './deploy-files.ts';

const UNITS = findFiles('deploy/systemd/*.service');

/** 0 is locked up, 10 is open; what V8 and a network daemon need keeps ours above 1. */
const EXPOSURE_MAX = 1.5;

/**
 * A copy whose program exists on this machine: `verify` wants the real file, wherever Node is here.
 */
function copyWithThisNode(unit: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-unit-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const copy = join(folder, basename(unit));
  copyFileSync(join(REPOSITORY_ROOT, unit), copy);
  const text = readFileSync(copy, 'utf8');
  writeFileSync(copy, text.replace('ExecStart=/usr/bin/node', `ExecStart=${process.execPath}`));
  return copy;
}

test('there is a unit for each daemon', () => {
  expect(UNITS.map((path) => basename(path))).toEqual([
    'holdfast-control.service',
    'holdfast-sidecar.service',
  ]);
});

describe.for(UNITS)('%s', (unit) => {
  test('runs as a user of its own, made by the sysusers file', () => {
    const [, user = ''] = /^User=(.+)$/m.exec(readText(unit)) ?? [];
    expect(readText('deploy/systemd/holdfast-sysusers.conf')).toMatch(
      new RegExp(`^u ${user} `, 'm'),
    );
  });

  programTest('systemd-analyze')('is understood by systemd, to the last key', () => {
    const answer = execFileSync('systemd-analyze', ['verify', copyWithThisNode(unit)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    expect(answer).toBe('');
  });

  programTest('systemd-analyze')('leaves little open', () => {
    const answer = execFileSync(
      'systemd-analyze',
      ['security', '--offline=true', '--no-pager', copyWithThisNode(unit)],
      { encoding: 'utf8' },
    );
    const [, exposure] = /Overall exposure level for .*: ([\d.]+)/.exec(answer) ?? [];
    expect(Number(exposure)).toBeLessThanOrEqual(EXPOSURE_MAX);
  });
});
