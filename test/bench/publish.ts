/**
 * A publication over HTTP: the gate, the report with its replay of recent decisions, the signature and
 * the commit. On a busy machine its CPU time is what compares.
 */
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import { ControlWorld } from '../fakes/control-world.ts';
import type { SigningHost } from '../fakes/signing-host.ts';

export type PublishFigures = {
  readonly plainMs: number;
  readonly reportedMs: number;
  /** Of the process, which bench and control share. */
  readonly reportedCpuMs: number;
  readonly decisionsReplayed: number;
};

export type PublishOptions = {
  readonly rules: number;
  readonly decisions: number;
  readonly rounds: number;
  readonly say: (text: string) => void;
};

const REPORT_EVENTS = 500;

export async function benchPublish(options: PublishOptions): Promise<PublishFigures> {
  const { rules, decisions, rounds, say } = options;
  const world = await ControlWorld.create({ logLevel: 'silent' });
  try {
    await world.publish(policyOf(rules, 500));
    await recordDecisions(world, await world.enrolHost(), decisions);
    const [plain, reported, cpu]: [number[], number[], number[]] = [[], [], []];
    for (let round = 0; round < rounds; round += 1) {
      plain.push(
        await timed(() => publish(world, policyOf(rules, 400 + round * 2), '?impact=false')),
      );
      const cpuBefore = process.cpuUsage();
      reported.push(await timed(() => publish(world, policyOf(rules, 401 + round * 2), '')));
      const { user, system } = process.cpuUsage(cpuBefore);
      cpu.push((user + system) / 1_000);
    }
    const figures = {
      plainMs: median(plain),
      reportedMs: median(reported),
      reportedCpuMs: median(cpu),
      decisionsReplayed: decisions,
    };
    say(`publish, ${rules} rules: ${figures.plainMs.toFixed(0)} ms without its report`);
    say(`publish, ${rules} rules: ${figures.reportedMs.toFixed(0)} ms with it`);
    return figures;
  } finally {
    await world.dispose();
  }
}

function policyOf(count: number, most: number): PolicyDocument {
  return {
    apiVersion: 'holdfast/v1',
    kind: 'Policy',
    principals: { 'agent:bench': { roles: ['agent'] } },
    rules: Array.from({ length: count }, (_, index) => ({
      name: `rule-${index}`,
      actions: [`bench.action${index}`],
      permit: [{ expression: `"agent" in principal.roles && attributes.amount <= ${most}` }],
    })),
  };
}

async function recordDecisions(
  world: ControlWorld,
  host: SigningHost,
  decisions: number,
): Promise<void> {
  for (let done = 0; done < decisions; done += REPORT_EVENTS) {
    // As they come in: one report after the other, not all at one instant.
    await world.clock.advance(1);
    for (let at = done; at < Math.min(decisions, done + REPORT_EVENTS); at += 1) {
      host.record('admitted', admission(host, at), `op_${String(at).padStart(26, '0')}`);
    }
    await host.reported(host.journal(done + 1));
  }
}

function admission(host: SigningHost, at: number): Record<string, unknown> {
  return {
    hostId: host.id,
    app: 'bench',
    idempotencyKey: `key-${at}`,
    fingerprint: 'f'.repeat(64),
    principal: 'agent:bench',
    action: `bench.action${at % 10}`,
    resource: { id: `order-${at}`, attributes: { region: 'eu' } },
    attributes: { amount: at % 500, note: 'x'.repeat(200) },
    policyRevision: 1,
    rule: `rule-${at % 10}`,
    basis: 'cached',
    stalenessMs: 1,
    effectTerms: {},
    deadlineAtMs: 9_999_999_999_999,
    deadlineBoot: { bootId: 'bench', bootMs: 1 },
  };
}

async function publish(world: ControlWorld, body: PolicyDocument, query: string): Promise<void> {
  const etag = (await world.get('/v1/policy')).headers.get('etag') ?? '';
  const answer = await world.call('PUT', `/v1/policy${query}`, {
    body,
    headers: { 'if-match': etag },
  });
  if (answer.status !== 201) throw new Error(answer.text);
}

async function timed(work: () => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
