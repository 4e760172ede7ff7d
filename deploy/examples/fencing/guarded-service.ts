/**
 * An HTTP service that lets only the newest owner of an order write it, and the call that an owner
 * makes. It verifies by the keys of control, which it keeps: it also starts while control is away.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import {
  AUTHORITY_HEADER,
  guardWithFencing,
  type Authority,
  type Fences,
  type FencingOptions,
  type SidecarClient,
} from '../../../shared/client/index.ts';
import type { OrderWrite } from './fenced-writes.ts';

/** A control that does not answer holds up the first request so long, and no other. */
const KEYS_TIMEOUT_MS = 2_000;

type GuardedRequest = FastifyRequest & { authority?: Authority | null };
type Keys = FencingOptions<GuardedRequest>['keys'];

export type GuardedServiceOptions = {
  readonly controlUrl: string;
  /** What control published last. Who can write this file decides who owns what. */
  readonly keysFile: string;
  readonly fences: Fences;
  /** Compares the epoch once more, in one step with the write: one of `fenced-writes.ts`. */
  readonly write: (write: OrderWrite) => Promise<boolean>;
};

export function openGuardedService(options: GuardedServiceOptions): FastifyInstance {
  const service = fastify();
  guardWithFencing<GuardedRequest>(service, {
    keys: keptKeys(options.controlUrl, options.keysFile),
    fences: options.fences,
    resourceOf: ({ method, params }) =>
      method === 'GET' ? null : `orders/${(params as { id: string }).id}`,
  });
  service.put<{ Params: { id: string }; Body: string }>('/orders/:id', async (request, reply) => {
    const { authority } = request as GuardedRequest;
    const epoch = authority?.epoch ?? 0;
    const isWritten = await options.write({ id: request.params.id, epoch, state: request.body });
    return reply.code(isWritten ? 204 : 412).send();
  });
  return service;
}

/** Those of control, or where it cannot be reached those that it had when it last could. */
function keptKeys(controlUrl: string, file: string): Keys {
  return async () => {
    try {
      const answer = await fetch(`${controlUrl}/.well-known/jwks.json`, {
        signal: AbortSignal.timeout(KEYS_TIMEOUT_MS),
      });
      if (!answer.ok) throw new Error(`control answers ${answer.status}`);
      await writeFile(`${file}.new`, await answer.text());
      await rename(`${file}.new`, file);
    } catch (error) {
      console.warn(`the published keys are those of ${file}: ${String(error)}`);
    }
    return (JSON.parse(await readFile(file, 'utf8')) as { keys: Awaited<ReturnType<Keys>> }).keys;
  };
}

/**
 * As the owner of the order's lease calls it, on a host with a sidecar; 412: another host owns the
 * order now.
 */
export async function putOrder(
  sidecar: SidecarClient,
  serviceUrl: string,
  { id, state }: Omit<OrderWrite, 'epoch'>,
): Promise<number> {
  const { token } = await sidecar.leaseToken(`orders/${id}`);
  const headers = { [AUTHORITY_HEADER]: token, 'content-type': 'text/plain' };
  const url = `${serviceUrl}/orders/${id}`;
  return (await fetch(url, { method: 'PUT', headers, body: state })).status;
}
