/** Tables in the documents are held to the code: what differs is printed as it should be. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { VERSION } from '../../../shared/core/version.ts';
import { ERRORS } from '../../../shared/wire/problem.ts';
import { OPERATION_STATES } from '../../../shared/wire/operation.ts';
import { TRANSITIONS } from '../../../dataplane/core/operation-lifecycle.ts';

const read = (path: string): string =>
  readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}

test('shared/DESIGN.md lists every error code with its status', () => {
  const rows = Object.entries(ERRORS).map(([code, { status, title, retryable }]) => [
    `\`${code}\``,
    String(status),
    retryable ? 'yes' : 'no',
    title,
  ]);
  expect(read('shared/DESIGN.md')).toContain(
    table(['code', 'status', 'retryable', 'meaning'], rows),
  );
});

test('dataplane/DESIGN.md lists every legal change of state', () => {
  const rows = OPERATION_STATES.flatMap((state) =>
    Object.entries(TRANSITIONS[state]).map(([event, targets]) => [
      `\`${state}\``,
      `\`${event}\``,
      targets.map((target) => `\`${target}\``).join(', '),
    ]),
  );
  expect(read('dataplane/DESIGN.md')).toContain(table(['state', 'event', 'to'], rows));
});

test('the version in the code is the one of the package', () => {
  expect(VERSION).toBe((JSON.parse(read('package.json')) as { version: string }).version);
});
