/** Calls to a test sidecar as its app, or as an operator, and the requests that the tests repeat. */
import type { InjectOptions, LightMyRequestResponse } from 'fastify';
import type { Outage } from '../../shared/wire/operation.ts';
import { APP_TOKEN, OPERATOR_TOKEN, type TestSidecar } from './sidecar-app.ts';

const HEADERS = {
  host: '127.0.0.1:7490',
  'holdfast-request': '1',
  authorization: `Bearer ${APP_TOKEN}`,
};
export const NOTIFY = {
  principal: 'agent:billing',
  action: 'notifications.send',
  attributes: { to: 'a' },
};
export const CAPTURE = {
  principal: 'agent:billing',
  action: 'payments.capture',
  resource: { id: 'o-1', attributes: { shard: 3 } },
  attributes: { amount: 20 },
};
export const REPORT = { principal: 'agent:billing', action: 'reports.build' };
export const OUTAGE: Outage = {
  outageId: 'out_1',
  fromMs: 1,
  toMs: null,
  cause: 'refused',
  detail: 'ECONNREFUSED',
  policyRevision: 1,
  stalenessMs: 10,
};

type CallOptions = {
  body?: unknown;
  headers?: Record<string, string | undefined>;
  /** A body as it is, whatever it is. */
  raw?: string;
};

export type Caller = {
  readonly call: (
    method: InjectOptions['method'],
    url: string,
    options?: CallOptions,
  ) => Promise<LightMyRequestResponse>;
  readonly admit: (
    body: unknown,
    key: string | undefined,
    headers?: Record<string, string>,
  ) => Promise<LightMyRequestResponse>;
};

export const asOperator = { authorization: `Bearer ${OPERATOR_TOKEN}` };

/** `sidecar` is asked for at each call: a test makes its own. */
export function callerOf(sidecar: () => TestSidecar): Caller {
  const call: Caller['call'] = (method, url, options = {}) => {
    const headers = Object.fromEntries(
      Object.entries({ ...HEADERS, ...options.headers }).filter(([, value]) => value !== undefined),
    ) as Record<string, string>;
    const payload =
      options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
    return sidecar().app.inject({
      method: method ?? 'GET',
      url,
      headers: payload === undefined ? headers : { 'content-type': 'application/json', ...headers },
      ...(payload === undefined ? {} : { payload }),
    });
  };
  const admit: Caller['admit'] = (body, key, headers = {}) => {
    const keyHeader = key === undefined ? {} : { 'idempotency-key': key };
    return call('POST', '/v1/operations', { body, headers: { ...keyHeader, ...headers } });
  };
  return { call, admit };
}
