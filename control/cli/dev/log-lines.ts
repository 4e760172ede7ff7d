/** The daemons' JSON log lines, as people read them. */
import type { DaemonName } from '../connections.ts';
import { inert } from '../output.ts';

/** Told by the line's own beginning, or of no use to somebody who watches. */
const LEFT_OUT = new Set(['level', 'time', 'daemon', 'msg', 'name', 'pid', 'hostname', 'err']);

/**
 * Whether it tells of a probe: the supervisor's own questions are no news to whoever watches it.
 */
export function isProbeLine(line: string): boolean {
  const entry = parse(line);
  return entry?.['msg'] === 'request' && /^\/(?:live|ready|startup)z$/.test(textOf(entry['route']));
}

/**
 * `18:24:03 control info policy published policyRevision=1`; a line that is no JSON object stays
 * as it is.
 */
export function logLine(daemon: DaemonName, line: string): string {
  const entry = parse(line);
  if (entry === null) return `         ${daemon.padEnd(8)} ${inert(line)}`;
  const time = typeof entry['time'] === 'string' ? entry['time'].slice(11, 19) : '        ';
  const level = textOf(entry['level']).padEnd(5);
  const facts = Object.entries(entry)
    .filter(([name, value]) => !LEFT_OUT.has(name) && value !== undefined && value !== null)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const { message } = (entry['err'] ?? {}) as { message?: unknown };
  if (typeof message === 'string') facts.push(`error=${message}`);
  const text = [textOf(entry['msg']), ...facts].join('  ');
  return `${time} ${daemon.padEnd(8)} ${level} ${inert(text)}`.trimEnd();
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

function parse(line: string): Record<string, unknown> | null {
  if (!line.startsWith('{')) return null;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    // A line that was cut off when its daemon was killed.
    return null;
  }
}
