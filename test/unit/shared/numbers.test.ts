import { Compile } from 'typebox/compile';
import type { TSchema } from 'typebox';
import { expect, test } from 'vitest';
import * as controlApi from '../../../shared/wire/control-api.ts';
import * as health from '../../../shared/wire/health.ts';
import * as operation from '../../../shared/wire/operation.ts';
import * as problem from '../../../shared/wire/problem.ts';
import * as recoveryApi from '../../../shared/wire/recovery-api.ts';
import * as sidecarApi from '../../../shared/wire/sidecar-api.ts';
import * as statements from '../../../shared/wire/statements.ts';

function unbounded(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const { type, minimum, maximum } = value as Record<string, unknown>;
  const open = type === 'integer' && (minimum === undefined || maximum === undefined);
  return [
    ...(open ? [path] : []),
    ...Object.entries(value).flatMap(([key, member]) => unbounded(member, `${path}/${key}`)),
  ];
}

test('every integer on the wire has a least and a largest value', () => {
  const modules = { controlApi, health, operation, problem, recoveryApi, sidecarApi, statements };
  expect(unbounded(modules, '')).toEqual([]);
});

test.each([
  [{ accepted: 1, unknown: 0 }, true],
  [{}, true],
  [{ done: 1 }, false],
  [{ accepted: 2 ** 53 }, false],
  [{ accepted: -1 }, false],
])('a host counts its operations by the states there are: %j', (operations, fits) => {
  const { journal } = statements.SyncRequestSchema.properties;
  const checker = Compile(journal as TSchema);
  expect(checker.Check({ seq: 1, hash: '0'.repeat(64), operations })).toBe(fits);
});
