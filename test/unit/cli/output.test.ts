import { describe, expect, test } from 'vitest';
import { Output, wantsColour, type OutputFormat, type View } from '../../../control/cli/output.ts';
import { ageText, durationText, timeText } from '../../../control/cli/time-text.ts';
import { isProbeLine, logLine } from '../../../control/cli/dev/log-lines.ts';
import { failureOf, CommandError } from '../../../control/cli/failures.ts';

type Thing = { readonly id: string; readonly state: string; readonly note: string };

const VIEW: View<Thing> = {
  noun: 'things',
  name: ({ id }) => id,
  columns: [
    { header: 'ID', value: ({ id }) => id },
    { header: 'STATE', value: ({ state }) => state },
    { header: 'NOTE', value: ({ note }) => note },
  ],
  details: [
    ['id', ({ id }) => id],
    ['note', ({ note }) => (note === '' ? null : note)],
  ],
};

const THINGS: Thing[] = [
  { id: 'op_1', state: 'succeeded', note: '' },
  { id: 'op_22', state: 'unknown', note: 'worker lost' },
];

function printed(
  format: OutputFormat,
  print: (output: Output) => void,
  options: { hasColour?: boolean; isQuiet?: boolean } = {},
): { out: string; err: string } {
  const written = { out: '', err: '' };
  const output = new Output({
    format,
    hasColour: options.hasColour ?? false,
    isQuiet: options.isQuiet ?? false,
    stdout: { write: (text) => (written.out += text) },
    stderr: { write: (text) => (written.err += text) },
  });
  print(output);
  return written;
}

describe('lists', () => {
  test('columns are as wide as their widest cell, without borders, and an empty cell is a dash', () => {
    const { out } = printed('table', (output) =>
      output.list({ items: THINGS, nextCursor: null }, VIEW),
    );

    expect(out).toBe(
      'ID      STATE       NOTE\nop_1    succeeded   -\nop_22   unknown     worker lost\n',
    );
  });

  test('an empty list prints no data, and says so beside it', () => {
    const { out, err } = printed('table', (output) =>
      output.list({ items: [], nextCursor: null }, VIEW),
    );

    expect(out).toBe('');
    expect(err).toBe('no things\n');
  });

  test('that there is more is said beside the data, in every format', () => {
    for (const format of ['table', 'json', 'yaml', 'name'] as const) {
      const { out, err } = printed(format, (output) =>
        output.list({ items: THINGS, nextCursor: 'c9' }, VIEW),
      );
      expect(err).toContain('--cursor c9');
      expect(out).not.toContain('--cursor');
    }
  });

  test('quiet leaves the notes out', () => {
    expect(
      printed('table', (output) => output.list({ items: [], nextCursor: 'c9' }, VIEW), {
        isQuiet: true,
      }).err,
    ).toBe('');
  });

  test('json and yaml carry the items as they came', () => {
    const json = printed('json', (output) =>
      output.list({ items: THINGS, nextCursor: null }, VIEW),
    ).out;
    expect(JSON.parse(json)).toEqual({ items: THINGS, nextCursor: null });
    const yaml = printed('yaml', (output) =>
      output.list({ items: THINGS.slice(0, 1), nextCursor: null }, VIEW),
    ).out;
    expect(yaml).toBe(
      'items:\n  - id: op_1\n    state: succeeded\n    note: ""\nnextCursor: null\n',
    );
  });

  test('name prints one name a line, for xargs', () => {
    expect(
      printed('name', (output) => output.list({ items: THINGS, nextCursor: null }, VIEW)).out,
    ).toBe('op_1\nop_22\n');
  });

  test('colour marks states and nothing else, and does not move a column', () => {
    const coloured = printed(
      'table',
      (output) => output.list({ items: THINGS, nextCursor: null }, VIEW),
      { hasColour: true },
    ).out;
    const plain = printed('table', (output) =>
      output.list({ items: THINGS, nextCursor: null }, VIEW),
    ).out;

    expect(coloured).toContain('\u001b[33munknown');
    // oxlint-disable-next-line no-control-regex
    expect(coloured.replaceAll(/\u001b\[\d+m/g, '')).toBe(plain);
  });
});

test('one item is printed as fields, without those that are not there', () => {
  expect(printed('table', (output) => output.item(THINGS[0]!, VIEW)).out).toBe('id:  op_1\n');
  expect(printed('table', (output) => output.item(THINGS[1]!, VIEW)).out).toBe(
    'id:    op_22\nnote:  worker lost\n',
  );
});

test('text from the network cannot speak to the terminal', () => {
  const evil = { id: 'op_1\u001b[2J', state: 'failed\nroot#', note: '\u009b31m' };

  const { out } = printed('table', (output) =>
    output.list({ items: [evil], nextCursor: null }, VIEW),
  );

  expect(out).toContain(String.raw`op_1\x1b[2J`);
  expect(out.split('\n')).toHaveLength(3);
  expect(out).toContain(String.raw`\x9b31m`);
});

describe('failures', () => {
  const failure = failureOf(
    new CommandError('policy_invalid', 'it does not validate', {
      errors: [{ path: '/rules/0', message: 'is wrong' }],
      hint: 'mend it',
    }),
  );

  test('are a line, the places and the way out, on standard error', () => {
    const { out, err } = printed('table', (output) => output.failure(failure));

    expect(out).toBe('');
    expect(err).toBe(
      'error: it does not validate (policy_invalid)\n  /rules/0: is wrong\nhint: mend it\n',
    );
  });

  test('are one JSON object under json', () => {
    const { err } = printed('json', (output) => output.failure(failure));

    expect(err.trim().split('\n')).toHaveLength(1);
    expect(JSON.parse(err)).toEqual({
      code: 'policy_invalid',
      detail: 'it does not validate',
      retryable: false,
      retryAfterMs: null,
      errors: [{ path: '/rules/0', message: 'is wrong' }],
      hint: 'mend it',
      exitCode: 1,
    });
  });
});

describe('colour', () => {
  const terminal = { write: () => true, isTTY: true };
  const cases: [string, Parameters<typeof wantsColour>[0], boolean][] = [
    ['on a terminal', { isAllowed: true, stream: terminal, env: {} }, true],
    ['not in a pipe', { isAllowed: true, stream: { write: () => true }, env: {} }, false],
    ['not with --no-color', { isAllowed: false, stream: terminal, env: {} }, false],
    ['not with NO_COLOR', { isAllowed: true, stream: terminal, env: { NO_COLOR: '1' } }, false],
    [
      'an empty NO_COLOR does not count',
      { isAllowed: true, stream: terminal, env: { NO_COLOR: '' } },
      true,
    ],
    ['not on a dumb terminal', { isAllowed: true, stream: terminal, env: { TERM: 'dumb' } }, false],
  ];
  test.each(cases)('%s', (_title, given, expected) => {
    expect(wantsColour(given)).toBe(expected);
  });
});

describe('times', () => {
  test.each([
    [null, '-'],
    [0, '0s'],
    [999, '0s'],
    [12_000, '12s'],
    [184_000, '3m4s'],
    [5 * 3_600_000 + 12 * 60_000 + 7_000, '5h12m'],
    [3 * 86_400_000 + 4 * 3_600_000 + 59_000, '3d4h'],
    [3_600_000, '1h'],
  ])('an age of %s ms is %s', (ms, text) => {
    expect(ageText(ms)).toBe(text);
  });

  test('durations under a second count', () => {
    expect(durationText(230)).toBe('230ms');
    expect(durationText(61_000)).toBe('1m1s');
  });

  test('moments are RFC 3339 in UTC', () => {
    expect(timeText(Date.UTC(2030, 0, 2, 3, 4, 5, 678))).toBe('2030-01-02T03:04:05Z');
    expect(timeText(null)).toBe('-');
  });
});

describe('log lines of the daemons', () => {
  test('are short for people', () => {
    const line = JSON.stringify({
      level: 'warn',
      time: '2030-01-02T03:04:05.678Z',
      daemon: 'control',
      msg: 'sync refused',
      host: 'dev',
      count: 2,
      err: { message: 'no', stack: 'at…' },
    });
    expect(logLine('control', line)).toBe(
      '03:04:05 control  warn  sync refused  host=dev  count=2  error=no',
    );
  });

  test('of probes are known, since the supervisor asks them itself', () => {
    expect(isProbeLine('{"msg":"request","route":"/readyz","status":503}')).toBe(true);
    expect(isProbeLine('{"msg":"request","route":"/v1/status","status":503}')).toBe(false);
    expect(isProbeLine('ready')).toBe(false);
  });

  test('stay as they are where they are not JSON', () => {
    expect(logLine('sidecar', '{"cut":')).toBe('         sidecar  {"cut":');
    expect(logLine('sidecar', 'plain \u001b[2J')).toBe(String.raw`         sidecar  plain \x1b[2J`);
  });
});
