import { Value } from 'typebox/value';
import { expect, test } from 'vitest';
import {
  SidecarConfigSchema,
  sidecarSettings,
  type SidecarConfig,
} from '../../../dataplane/config.ts';

const standard = Value.Create(SidecarConfigSchema);
const settings = (over: Partial<SidecarConfig>) =>
  sidecarSettings({ ...standard, appAuth: 'off', ...over });

test.each([
  ['0B', 0],
  ['1KiB', 1_024],
  ['64MiB', 64 * 1_024 * 1_024],
  ['2GiB', 2 * 1_024 ** 3],
])('a ballast of %s is %d bytes', (ballast, bytes) => {
  expect(Value.Check(SidecarConfigSchema, { ...standard, ballast })).toBe(true);
  expect(settings({ ballast }).ballastBytes).toBe(bytes);
});

test.each(['64', '64MB', '-1MiB', 'MiB', '1.5GiB'])('%s is no size', (ballast) => {
  expect(Value.Check(SidecarConfigSchema, { ...standard, ballast })).toBe(false);
});

test('what cannot work is refused', () => {
  expect(() => settings({ ballast: '17GiB' })).toThrow('ballast 17GiB is too large');
  expect(() => settings({ writeWaitMax: '50ms' })).toThrow('writeWaitMax 50ms is too short');
  expect(settings({}).writeWaitMsMax).toBe(2_000);
});
