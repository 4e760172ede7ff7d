/** Plain requests to a sidecar: status and headers as they came, and `null` where nothing came. */
import { UnreachableError } from '../../../shared/client/index.ts';
import { UndiciTransport } from '../../../shared/client/transport.ts';
import type { JournalEvent, Operation } from '../../../shared/wire/operation.ts';
import { REQUEST_HEADER } from '../../../shared/wire/sidecar-api.ts';
import { pause } from '../pause.ts';
import type { Site } from '../sidecar/site.ts';

const TIMEOUT_MS = 10_000;
const POLL_MS = 10;
const OUTAGE_BOUND_MS = 15_000;

export type Answer = {
  readonly status: number;
  readonly replayed: boolean;
  /** Of whatever was asked: what it does not have is not there. */
  readonly body: Partial<Operation> & {
    readonly code?: string;
    readonly replayed?: boolean;
    readonly items?: readonly Operation[];
    readonly events?: readonly JournalEvent[];
    readonly control?: { readonly outage: unknown };
  };
};

export async function ask(
  url: string,
  { token }: Pick<Site, 'token'>,
  request: {
    readonly method: 'GET' | 'POST' | 'PUT';
    readonly path: string;
    readonly key?: string;
    readonly body?: unknown;
  },
): Promise<Answer | null> {
  const { method, path, key, body } = request;
  const transport = new UndiciTransport({ url });
  try {
    const {
      status,
      headers,
      body: text,
    } = await transport.send({
      method,
      path,
      headers: {
        authorization: `Bearer ${token}`,
        [REQUEST_HEADER]: '1',
        ...(key === undefined ? {} : { 'idempotency-key': key }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      timeoutMs: TIMEOUT_MS,
    });
    const replayed = headers['idempotency-replayed'] === 'true';
    return { status, replayed, body: JSON.parse(text) as Answer['body'] };
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    return null;
  } finally {
    await transport.close();
  }
}

/** Control is away in every campaign: waits until the sidecar knows, and has written it down. */
export async function untilOutage(url: string, site: Site): Promise<void> {
  const startedMs = performance.now();
  for (;;) {
    const status = await ask(url, site, { method: 'GET', path: '/v1/status' });
    if ((status?.body.control?.outage ?? null) !== null) return;
    if (performance.now() - startedMs > OUTAGE_BOUND_MS) throw new Error('no outage is opened');
    await pause(POLL_MS);
  }
}
