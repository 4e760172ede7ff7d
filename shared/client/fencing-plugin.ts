/**
 * For a service elsewhere that owners write to: a Fastify plugin that lets nobody through but the
 * newest owner. It verifies the authority token of the request against the published keys of
 * control, without asking control, and compares its epoch with the highest that the service has
 * seen (I6). The lease in the token is an optimization; the comparison is the safety, so the fences
 * must be as durable as what they guard (`postgresFences`).
 */
import { openVerifier, type Verifier } from '../platform/signatures.ts';
import { LeaseTokenSchema, STATEMENT_TYPES, type PublicKey } from '../wire/statements.ts';

export const AUTHORITY_HEADER = 'holdfast-authority';

export type FenceVerdictAnswer = { readonly accepted: boolean; readonly highestEpoch: number };

/** Where the highest epoch of each resource is remembered; one call compares and raises. */
export type Fences = {
  check(resource: string, epoch: number): Promise<FenceVerdictAnswer>;
};

export type Authority = {
  readonly resource: string;
  readonly epoch: number;
  readonly hostId: string;
};

type Request = {
  readonly method: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  authority?: Authority | null;
};
type Reply = {
  code(status: number): Reply;
  type(contentType: string): Reply;
  send(body: unknown): unknown;
};
/** As much of a Fastify instance as the plugin uses. */
type Instance<R extends Request> = {
  addHook(name: 'preHandler', hook: (request: R, reply: Reply) => Promise<unknown>): unknown;
};

export type FencingOptions<R extends Request> = {
  /**
   * The published keys: those of control's `/.well-known/jwks.json`, kept where they outlive an
   * outage (as in `deploy/examples/fencing/guarded-service.ts`), or a list that came with the service.
   */
  readonly keys: () => Promise<readonly PublicKey[]>;
  readonly controlId?: string;
  readonly fences: Fences;
  /** What a request is about to change; `null` lets it through without a token, as reads are. */
  readonly resourceOf: (request: R) => string | null;
};

type Refusal = { readonly status: number; readonly code: string; readonly detail: string };

/** `await app.register(...)` is not needed: call it with the instance, or a scope of it. */
export function guardWithFencing<R extends Request>(
  app: Instance<R>,
  options: FencingOptions<R>,
): void {
  const keyring = new Keyring(options.keys);
  app.addHook('preHandler', async (request, reply) => {
    const resource = options.resourceOf(request);
    if (resource === null) return undefined;
    const checked = await check(request, resource, options, keyring);
    if (!('status' in checked)) {
      request.authority = checked;
      return undefined;
    }
    const { status, code, detail } = checked;
    const problem = { type: `urn:holdfast:${code}`, title: code, status, code, detail };
    return reply.code(status).type('application/problem+json').send(problem);
  });
}

async function check<R extends Request>(
  request: R,
  resource: string,
  { controlId, fences }: FencingOptions<R>,
  keyring: Keyring,
): Promise<Authority | Refusal> {
  const token = request.headers[AUTHORITY_HEADER];
  if (typeof token !== 'string')
    return {
      status: 428,
      code: 'fencing_token_required',
      detail: `send ${AUTHORITY_HEADER} with the token that the sidecar gives for ${resource}`,
    };
  const verified = await keyring.verify(token);
  if (!verified.ok)
    return {
      status: 401,
      code: 'authority_invalid',
      detail: `the authority token does not verify: ${verified.reason}, ${verified.detail}`,
    };
  const { payload } = verified;
  const isOurs = controlId === undefined || payload.controlId === controlId;
  if (!isOurs || payload.resource !== resource)
    return {
      status: 403,
      code: 'authority_of_another',
      detail: `the token is for ${payload.resource} of control ${payload.controlId}, not for ${resource}`,
    };
  const { epoch, hostId } = payload;
  const verdict = await fences.check(resource, epoch);
  if (verdict.accepted) return { resource, epoch, hostId };
  return {
    status: 412,
    code: 'stale_owner',
    detail: `epoch ${epoch} for ${resource} is below ${verdict.highestEpoch}, the highest seen here`,
  };
}

/** Keys are asked for again where a token names one that is not known, and not for each such token. */
class Keyring {
  readonly #keys: () => Promise<readonly PublicKey[]>;
  #verifier: Promise<Verifier> | null = null;
  #unknownSeen = 0;

  constructor(keys: () => Promise<readonly PublicKey[]>) {
    this.#keys = keys;
  }

  async verify(token: string) {
    const expected = { type: STATEMENT_TYPES.lease, schema: LeaseTokenSchema };
    const first = await (await this.#open()).verify(token, expected);
    if (first.ok || first.reason !== 'key_unknown') return first;
    // The first of them, and then ever more rarely: anybody can invent an id.
    this.#unknownSeen += 1;
    if (!Number.isInteger(Math.log2(this.#unknownSeen))) return first;
    this.#verifier = null;
    return (await this.#open()).verify(token, expected);
  }

  #open(): Promise<Verifier> {
    this.#verifier ??= this.#keys()
      .then(openVerifier)
      .catch((error: unknown) => {
        this.#verifier = null;
        throw error;
      });
    return this.#verifier;
  }
}

/** For a service whose state does not outlive its process either. */
export function memoryFences(): Fences {
  const highest = new Map<string, number>();
  return {
    check(resource, epoch) {
      const known = highest.get(resource) ?? 0;
      if (epoch >= known) highest.set(resource, epoch);
      const accepted = epoch >= known;
      return Promise.resolve({ accepted, highestEpoch: Math.max(known, epoch) });
    },
  };
}
