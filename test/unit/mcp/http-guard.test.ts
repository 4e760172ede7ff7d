/** Who may come in to the MCP gateway over HTTP. */
import { expect, test } from 'vitest';
import { requestRefusal, type RequestHead } from '../../../control/cli/mcp/http-guard.ts';

const SETTINGS = { allowedHosts: ['Tools.internal'], isToken: (text: string) => text === 'right' };
const head = (headers: Record<string, string | undefined>, url = '/mcp'): RequestHead => {
  const all = { host: '127.0.0.1:7500', authorization: 'Bearer right', ...headers };
  return { url, headers: all, rawHeaders: all.host === undefined ? [] : ['Host', all.host] };
};

test.for([
  [head({})],
  [head({ host: 'LOCALHOST' })],
  [head({ host: '[::1]:7500' })],
  [head({ host: 'tools.internal:7500' })],
  [head({ 'sec-fetch-site': 'none', authorization: 'bearer right' }, '/mcp?x=1')],
] as const)('a program of this host comes in: %#', ([request]) => {
  expect(requestRefusal(request, SETTINGS)).toBeNull();
});

test.for([
  ['G1', 403, head({ host: 'evil.example' })],
  ['G1', 403, head({ host: undefined })],
  ['G1', 403, head({ host: '127.0.0.1.evil.example:7500' })],
  ['G1', 403, head({}, 'http://127.0.0.1:7500/mcp')],
  ['G1', 403, { ...head({}), rawHeaders: ['Host', '127.0.0.1', 'host', 'evil.example'] }],
  ['G2', 403, head({ origin: 'http://127.0.0.1:7500' })],
  ['G2', 403, head({ origin: 'null' })],
  ['G2', 403, head({ 'sec-fetch-site': 'same-origin' })],
  ['G2', 403, head({ 'x-forwarded-for': '10.0.0.1' })],
  ['G2', 403, head({ via: '1.1 proxy' })],
  ['G3', 401, head({ authorization: undefined })],
  ['G3', 401, head({ authorization: 'Bearer wrong' })],
  ['G3', 401, head({ authorization: 'Basic right' })],
  ['G3', 401, head({ authorization: 'Bearer wrong', 'mcp-session-id': 'known' })],
  ['no page', 404, head({}, '/mcp/more')],
] as const)('%s: %i for what may not: %#', ([, status, request]) => {
  expect(requestRefusal(request, SETTINGS)).toMatchObject({ status });
});
