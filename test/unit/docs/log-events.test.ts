/** The table of log events, the code that says them, and the page that lists them: one truth. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { LOG_EVENTS, RETIRED_LOG_EVENTS } from '../../../shared/platform/log-events.ts';
import { createLogger } from '../../../shared/platform/logger.ts';
import { findFiles, readText } from '../deploy/deploy-files.ts';
import { logCalls } from './log-calls.ts';

const sentences = Object.values<string>(LOG_EVENTS);
const calls = ['shared', 'control', 'dataplane'].flatMap((folder) =>
  findFiles(`${folder}/**/*.ts`).flatMap((path) =>
    logCalls(readText(path)).map((call) => ({ ...call, path })),
  ),
);

describe('the table of log events', () => {
  test('has every sentence that the code says, and each is written out where it is said', () => {
    expect(calls.length).toBeGreaterThan(50);
    // What is missing needs a row in shared/platform/log-events.ts and in deploy/log-events.md.
    const missing = calls
      .filter(({ message }) => message === null || !sentences.includes(message))
      .map(({ path, line, message }) => `${path}:${line} says ${message}`);
    expect(missing).toEqual([]);
  });

  test('has nothing that nobody says, and no sentence twice', () => {
    const said = new Set(calls.map(({ message }) => message));
    expect(sentences.filter((sentence) => !said.has(sentence))).toEqual([]);
    expect(new Set(sentences).size).toBe(sentences.length);
  });

  test('an id that was given up is never given again', () => {
    expect(Object.keys(RETIRED_LOG_EVENTS).filter((event) => event in LOG_EVENTS)).toEqual([]);
    for (const event of Object.keys(LOG_EVENTS)) expect(event).toMatch(/^[a-z]+(_[a-z]+)*$/);
  });

  test('is the table of deploy/log-events.md', () => {
    const page = readFileSync(new URL('../../../deploy/log-events.md', import.meta.url), 'utf8');
    const rows = Object.entries(LOG_EVENTS).map(([event, msg]) => `| \`${event}\` | ${msg} |`);
    expect(page).toContain(['| event | msg |', '| --- | --- |', ...rows].join('\n'));
  });

  test('a call whose sentence is put together at run time is found', () => {
    const text =
      "logger.warn({ a: 'x' }, `no ${what}`);\nlogger.info(facts, 'done');\nlog.error('z');";
    expect(logCalls(text)).toEqual([
      { line: 1, message: null },
      { line: 2, message: 'done' },
      { line: 3, message: 'z' },
    ]);
  });
});

describe('a line of the log', () => {
  function linesOf(say: (logger: ReturnType<typeof createLogger>) => void): string[] {
    const lines: string[] = [];
    const destination = { write: (line: string) => void lines.push(line) };
    say(createLogger({ name: 'test', level: 'trace', destination }));
    return lines;
  }

  test('has the id of its event, with facts and without, also from a child', () => {
    const lines = linesOf((logger) => {
      logger.info({ address: 'x' }, 'listening');
      logger.info('stopping');
      logger.child({ reqId: 'r' }).debug({ route: '/' }, 'request');
      logger.info('what a library says');
    }).map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toMatchObject([
      { event: 'listening', msg: 'listening', address: 'x', daemon: 'test', level: 'info' },
      { event: 'stopping', msg: 'stopping' },
      { event: 'request', reqId: 'r' },
      { msg: 'what a library says' },
    ]);
    expect(lines[3]).not.toHaveProperty('event');
  });

  test.each([
    ['token', { token: 's3cret' }],
    ['a join token', { config: { joinToken: 's3cret' } }],
    ['a private key', { host: { identity: { privateKey: 's3cret' } } }],
    ['a password', { database: { password: 's3cret' } }],
    ['authorization', { req: { headers: { authorization: 'Bearer s3cret' } } }],
    ['a cookie', { headers: { cookie: 's3cret' } }],
    ['attributes', { request: { attributes: { card: 's3cret' } } }],
    ['attributes of a resource', { refusal: { resourceAttributes: { card: 's3cret' } } }],
    ['a result', { operation: { outcome: { result: 's3cret' } } }],
    ['a checkpoint', { operation: { checkpoint: { at: 's3cret' } } }],
    ['a payload', { payload: 's3cret' }],
    ['a body', { request: { body: 's3cret' } }],
    ['an error with a request', { err: Object.assign(new Error('no'), { body: 's3cret' }) }],
    ['a header in a text', { detail: 'sent Authorization: Bearer s3cret and got 401' }],
    ['a host token in a text', { detail: 'Holdfast-Host s3cret' }],
    ['a join token in a text', { detail: 'hfj1.id.s3cret.thumb was refused' }],
    ['an operator token in a text', { detail: 'hfo1.s3cret' }],
    ['a JWS in an error', { err: new Error('cannot verify eyJhbGciOiJ9.eyJ4Ijo.s3cret') }],
  ])('L1, L2: %s is not in it', (_, facts) => {
    const [line = ''] = linesOf((logger) => logger.error(facts, 'request failed'));
    expect(line).toContain('[redacted]');
    expect(line).not.toContain('s3cret');
    expect(JSON.parse(line)).toMatchObject({ event: 'request_failed' });
  });
});
