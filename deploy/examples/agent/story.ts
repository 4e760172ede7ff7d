/**
 * One conversation of the agent from its first turn to its last, with what goes wrong in it, and what
 * it leaves behind.
 */
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import type { Operation } from '../../../shared/client/index.ts';
import { AgentProcess } from './agent-process.ts';
import { readTranscript } from './agent.ts';
import type { Evidence } from './account.ts';
import type { CrashPlan, CrashPoint } from './crash-plan.ts';
import type { Hold } from './desk-client.ts';
import { ScriptedModel } from './scripted-model.ts';
import type { RecordedTurn } from './turn-file.ts';
import { InVainError, until, type World } from './world.ts';

export type StoryParts = {
  readonly world: World;
  readonly conversation: string;
  readonly turns: readonly RecordedTurn[];
  readonly plan: CrashPlan;
  /** For the transcript of the agent. */
  readonly directory: string;
  readonly say: (text: string) => void;
};

/** All but the journal, which is read once for all stories. */
export type Told = Omit<Evidence, 'journal'> & {
  /** Points at which somebody was killed, and those that the conversation did not come to. */
  readonly killed: number;
  readonly missed: number;
  readonly settledByLedger: number;
};

const ENDED: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'expired']);

type Armed = { readonly point: CrashPoint; readonly hold: Hold; isGivenUp: boolean };

export class Story {
  readonly #parts: StoryParts;
  readonly #transcript: string;
  readonly #armed = new Map<CrashPoint, Armed>();
  readonly #crashes: Promise<void>[] = [];
  #agent!: AgentProcess;
  #control: 'there' | 'away' | 'back' = 'there';
  #missed = 0;
  #settled = 0;

  constructor(parts: StoryParts) {
    this.#parts = parts;
    this.#transcript = join(parts.directory, `${parts.conversation}.ndjson`);
  }

  async run(): Promise<Told> {
    const { world, conversation, turns, plan } = this.#parts;
    const model = await ScriptedModel.start(turns, (turn) => this.#beforeTurn(turn));
    this.#agent = new AgentProcess({
      args: [conversation, this.#transcript, model.url, world.desk.url],
      env: {
        HOLDFAST_SIDECAR_URL: world.supervisor.url('sidecar'),
        HOLDFAST_SIDECAR_TOKEN: readFileSync(world.supervisor.files.appTokenFile, 'utf8').trim(),
      },
    });
    try {
      this.#agent.start();
      await this.#agent.finished;
      await this.#giveUp();
      await Promise.all(this.#crashes);
    } finally {
      await this.#agent.kill();
      model.stop();
    }
    const operations = await this.#settle();
    const explanations = await Promise.all(
      operations.map(({ operationId }) =>
        until('an explanation', async () => {
          const { summary } = await world.sidecar.explain(operationId);
          return { operationId, summary };
        }),
      ),
    );
    return {
      conversation,
      turns,
      told: readTranscript(this.#transcript).flat(),
      ledger: await world.desk.ledger(conversation),
      explanations,
      killed: plan.points.length - this.#missed,
      missed: this.#missed,
      settledByLedger: this.#settled,
    };
  }

  async #beforeTurn(turn: number): Promise<void> {
    const { turns, plan, say, world } = this.#parts;
    const recorded = turns[turn - 1];
    if (recorded === undefined) return;
    const { says, calls, person } = recorded;
    if (this.#control === 'there' && turn === plan.control?.awayFrom) {
      this.#control = 'away';
      say('control is killed');
      await world.alone(() => world.supervisor.kill('control'));
    }
    if (this.#control === 'away' && turn === plan.control?.backAt) {
      this.#control = 'back';
      await world.alone(() => world.supervisor.start('control'));
      await until('the sidecar to reach control', async () =>
        (await world.sidecar.status()).control.state === 'connected' ? true : null,
      );
      say('control is back');
    }
    if (person === 'approves') await this.#approve();
    for (const point of plan.points) {
      const tool = calls[point.call - 1]?.tool;
      if (point.turn !== turn || tool === undefined || this.#armed.has(point)) continue;
      const when = point.when === 'after' ? 'after' : 'before';
      const hold = await world.desk.hold({ conversation: this.#parts.conversation, tool, when });
      const armed = { point, hold, isGivenUp: false };
      this.#armed.set(point, armed);
      this.#crashes.push(this.#crash(armed, tool).catch((error) => this.#agent.fail(error)));
    }
    say(`turn ${turn}: ${says}`);
  }

  /** The conversation has ended without such a call. */
  async #giveUp(): Promise<void> {
    for (const armed of this.#armed.values()) {
      armed.isGivenUp = true;
      const { wasTaken } = await armed.hold.release({ act: true });
      if (!wasTaken) this.#missed += 1;
    }
  }

  async #crash(armed: Armed, tool: string): Promise<void> {
    const { world, say } = this.#parts;
    const { point, hold } = armed;
    await hold.held;
    if (armed.isGivenUp) return;
    const { victim, when } = point;
    const how = { before: 'before it acts', after: 'after it acted', answered: 'as it answers' };
    say(`kill -9 of the ${victim} in the middle of ${tool}, ${how[when]}`);
    if (victim === 'sidecar') {
      await world.alone(async () => {
        await world.supervisor.kill('sidecar');
        // The tool knows nothing of it, and goes on.
        await hold.release({ act: true });
        await world.supervisor.start('sidecar');
      });
      return;
    }
    if (when === 'answered') await Promise.all([hold.release({ act: true }), this.#agent.kill()]);
    else await this.#agent.kill();
    await hold.release({ act: when !== 'before' });
    this.#agent.start();
  }

  /** As a person does by `holdfast approval list`, `show` and `approve`. */
  async #approve(): Promise<void> {
    const { world, say } = this.#parts;
    const { sidecar, control } = world;
    const told = readTranscript(this.#transcript).flat();
    const operationId = told.find(({ status }) => status === 'pending')?.operationId;
    if (operationId === undefined || operationId === null) return;
    const { approval, state } = await until('the record of what waits', () =>
      sidecar.operation(operationId),
    );
    if (approval === undefined || state !== 'awaiting_approval') return;
    const { requestId } = approval;
    const { payloadDigest: digest, state: asked } = await until('the request at control', () =>
      control.approvals.fetch(requestId),
    );
    if (asked === 'pending')
      await until('the vote to be taken', () =>
        control.approvals.decide(requestId, 'approve', { reason: 'the customer asked', digest }),
      );
    await until('the approval to arrive', async () =>
      (await sidecar.operation(operationId)).state === 'awaiting_approval' ? null : true,
    );
    say('a person has approved the deletion');
  }

  /**
   * What is unknown is looked up at the desk, and settled by that, until all has ended; what does not
   * end is for the account to find.
   */
  async #settle(): Promise<readonly Operation[]> {
    const { world, conversation, say } = this.#parts;
    let operations: readonly Operation[] = [];
    const told = readTranscript(this.#transcript).flat();
    const ids = [...new Set(told.flatMap(({ operationId }) => operationId ?? []))];
    const settled = until('every operation to end', async () => {
      operations = await Promise.all(ids.map((id) => world.sidecar.operation(id)));
      const ledger = await world.desk.ledger(conversation);
      for (const { operationId, state } of operations) {
        if (state !== 'unknown') continue;
        const isDone = ledger.some(({ idempotencyKey }) => idempotencyKey.startsWith(operationId));
        await world.sidecar.resolve(operationId, {
          outcome: isDone ? 'succeeded' : 'failed',
          provenance: 'verified',
          reason: `the ledger of the desk ${isDone ? 'has' : 'does not have'} it`,
        });
        this.#settled += 1;
      }
      return operations.every(({ state }) => ENDED.has(state)) ? true : null;
    });
    await settled.catch((error: unknown) => {
      if (!(error instanceof InVainError)) throw error;
      say(error.message);
    });
    return operations;
  }
}
