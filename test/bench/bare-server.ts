/**
 * What the ratio is against: a bare Fastify route with the request and response schemas of an
 * admission, and nothing behind it.
 */
import Fastify from 'fastify';
import type { AddressInfo } from 'node:net';
import Type from 'typebox';
import {
  AdmitRequestSchema,
  OperationSchema,
  type AdmitRequest,
  type Operation,
} from '../../shared/wire/operation.ts';

const app = Fastify({ logger: false });
let count = 0;
app.post(
  '/v1/operations',
  {
    schema: {
      headers: Type.Object({ 'idempotency-key': Type.Optional(Type.String()) }),
      body: AdmitRequestSchema,
      response: { 201: OperationSchema },
    },
  },
  async (request, reply) => {
    const { principal, action, resource, attributes } = request.body as AdmitRequest;
    count += 1;
    const answer: Operation = {
      operationId: `op_${count}`,
      hostId: 'host_bare',
      app: 'bench',
      idempotencyKey: String(request.headers['idempotency-key']),
      fingerprint: '0'.repeat(64),
      principal,
      action,
      resource: { id: resource?.id ?? '', attributes: resource?.attributes ?? {} },
      attributes: attributes ?? {},
      state: 'accepted',
      reason: null,
      policyRevision: 1,
      rule: 'rule-25',
      basis: 'cached',
      stalenessMs: 10,
      leaseResource: 'bench/s1',
      leaseEpoch: 1,
      leaseInGrace: false,
      outageId: null,
      warnings: [],
      onControlLoss: 'finish',
      onWorkerLoss: 'unknown',
      onRevoke: 'abort',
      recheck: null,
      heartbeatTimeoutMs: 30_000,
      ownershipMode: 'fenced',
      ownershipGraceMs: 120_000,
      effectTerms: { charge: { idempotent: false, fencing: 'enforced' } },
      admittedAtMs: Date.now(),
      deadlineAtMs: Date.now(),
      updatedAtMs: Date.now(),
      settledAtMs: null,
      attempt: 0,
      attemptStartedAtMs: null,
      attemptLeaseEpoch: null,
      effects: [],
      checkpoint: null,
      outcome: null,
    };
    return reply.code(201).send(answer);
  },
);
await app.listen({ port: 0, host: '127.0.0.1' });
process.stdout.write(`${(app.server.address() as AddressInfo).port}\n`);
// Its parent holds the other end.
process.stdin.resume().on('end', () => process.exit(0));
