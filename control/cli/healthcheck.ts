/**
 * `holdfast healthcheck`, by itself: a container runtime runs it every few seconds for as long as
 * the container lives, so it loads nothing but what asks one URL. Whatever is unusual goes the way
 * of every other command.
 */
import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { parseArgs } from 'node:util';
import { parseDurationMs } from '../../shared/core/time.ts';
import type { Surroundings } from './surroundings.ts';

const TIMEOUT = '10s';
const BODY_CHARACTERS_SHOWN = 200;

export async function runCommand(surroundings: Surroundings): Promise<number> {
  const flags = readFlags(surroundings.argv);
  if (flags === null) return (await import('./program.ts')).runCommand(surroundings);
  const problem = await healthProblem(flags.url, flags.timeoutMs);
  if (problem === null) return 0;
  surroundings.stderr.write(`error: ${problem} (unhealthy)\n`);
  return 1;
}

/** `null` where there is anything but the two flags in good order. */
function readFlags(argv: readonly string[]): { url: string; timeoutMs: number } | null {
  try {
    const { values } = parseArgs({
      args: argv.slice(1),
      options: { url: { type: 'string' }, timeout: { type: 'string', default: TIMEOUT } },
    });
    const timeoutMs = parseDurationMs(values.timeout);
    return values.url === undefined || timeoutMs === null || addressOf(values.url) === null
      ? null
      : { url: values.url, timeoutMs };
  } catch {
    // Not flags that this understands; the whole command says what is wrong with them.
    return null;
  }
}

/** `null` when the URL answers with success in time, and why not otherwise. */
export async function healthProblem(url: string, timeoutMs: number): Promise<string | null> {
  const address = addressOf(url);
  if (address === null) return `${url} is not a URL`;
  const { promise, resolve } = Promise.withResolvers<string | null>();
  const { isSecure, ...options } = address;
  // The time-out of an idle socket: whoever trickles an answer is not healthy either, but is not
  // silent.
  const request = (isSecure ? httpsRequest : httpRequest)(
    { ...options, timeout: timeoutMs },
    (response) => {
      const status = response.statusCode ?? 0;
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        if (body.length < BODY_CHARACTERS_SHOWN) body += text;
      });
      response.once('error', (error) => resolve(`${url}: ${error.message}`));
      response.once('end', () => {
        const shown = body.slice(0, BODY_CHARACTERS_SHOWN);
        resolve(status >= 200 && status <= 299 ? null : `${url} answered ${status}: ${shown}`);
      });
    },
  );
  request.once('timeout', () => {
    resolve(`${url} gave no answer in ${timeoutMs} ms`);
    request.destroy();
  });
  request.once('error', (error: NodeJS.ErrnoException) =>
    resolve(`${url}: ${error.code ?? error.message}`),
  );
  request.end();
  return promise;
}

type Address = RequestOptions & { readonly isSecure: boolean };

/** A bare daemon stands for its `/readyz`, and so does a Unix socket. */
function addressOf(url: string): Address | null {
  if (url.startsWith('unix:')) {
    return {
      isSecure: false,
      socketPath: url.slice('unix:'.length),
      host: 'localhost',
      path: '/readyz',
    };
  }
  if (!/^https?:/.test(url) || !URL.canParse(url)) return null;
  const { protocol, hostname, port, pathname, search } = new URL(url);
  return {
    isSecure: protocol === 'https:',
    hostname: hostname.replaceAll(/[[\]]/g, ''),
    path: `${pathname === '/' ? '/readyz' : pathname}${search}`,
    ...(port === '' ? {} : { port }),
  };
}
