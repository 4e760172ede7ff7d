/** Config values of a policy: their size, and what an app gets when they have expired. */
import type { PolicyDocument } from '../wire/policy-document.ts';
import type { PolicyProblem } from './policy.ts';
import { parseDurationMs } from './time.ts';

export const CONFIG_VALUE_BYTES_MAX = 32 * 1024;

export function lintConfig(config: PolicyDocument['config']): PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  for (const [key, entry] of Object.entries(config ?? {})) {
    const at = `/config/${key}`;
    for (const field of ['value', 'default'] as const) {
      const sizeBytes = entry[field] === undefined ? 0 : sizeOf(entry[field]);
      if (sizeBytes > CONFIG_VALUE_BYTES_MAX) {
        problems.push({
          path: `${at}/${field}`,
          message: `${sizeBytes} bytes of JSON are over the bound of ${CONFIG_VALUE_BYTES_MAX}: split it over several keys, or hold a reference to where it is`,
        });
      }
    }
    if (parseDurationMs(entry.maxStaleness) === 0) {
      problems.push({
        path: `${at}/maxStaleness`,
        message: 'must be longer than zero: say how long the value is good for, as 24h',
      });
    }
    if (entry.onExpiry === 'default' && entry.default === undefined) {
      problems.push({
        path: `${at}/default`,
        message: 'is required by onExpiry default: add it, or use onExpiry error or last',
      });
    }
    if (entry.onExpiry !== 'default' && entry.default !== undefined) {
      problems.push({
        path: `${at}/default`,
        message: `is never given with onExpiry ${entry.onExpiry}: use onExpiry default, or remove it`,
      });
    }
  }
  return problems;
}

function sizeOf(value: unknown): number {
  return new TextEncoder().encode(JSON.stringify(value)).byteLength;
}
