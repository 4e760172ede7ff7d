/** The policy commands in a directory of their own, offline or with a stand-in for control. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { runCommand } from '../../../control/cli/program.ts';
import { openStandIn, problem, type Answer, type StandIn } from '../../fakes/http-stand-in.ts';

/** Two rules, of which the tests reach one. */
export const POLICY = `apiVersion: holdfast/v1
kind: Policy
principals:
  agent:a: { roles: [agent] }
rules:
  - name: small
    actions: [pay]
    match:
      - expression: has(attributes.amount)
    permit:
      - expression: '"agent" in principal.roles'
      - expression: attributes.amount <= 500
        message: at most 500
  - name: other
    actions: [look]
    permit:
      - expression: 'true'
tests:
  - name: a small one passes
    given: { principal: agent:a, action: pay, attributes: { amount: 20 } }
    expect: { decision: permit, rule: small }
`;
export const FAILING = POLICY.replace('decision: permit', 'decision: deny');

type Ended = { readonly exitCode: number; readonly out: string; readonly err: string };

export class PolicyCli {
  #cwd = '';
  #standIn: StandIn | undefined;

  constructor() {
    beforeEach(() => {
      this.#cwd = mkdtempSync(join(tmpdir(), 'holdfast-'));
    });
    afterEach(async () => {
      await this.#standIn?.close();
      this.#standIn = undefined;
      rmSync(this.#cwd, { recursive: true });
    });
  }

  get cwd(): string {
    return this.#cwd;
  }

  run = async (...argv: string[]): Promise<Ended> => {
    const written = { out: '', err: '' };
    const exitCode = await runCommand({
      argv: ['policy', ...argv],
      env: this.#standIn === undefined ? {} : { HOLDFAST_CONTROL_URL: this.#standIn.url },
      cwd: this.#cwd,
      stdout: { write: (text) => (written.out += text) },
      stderr: { write: (text) => (written.err += text) },
    });
    return { exitCode, ...written };
  };

  file = (name: string, text: string): string => {
    writeFileSync(join(this.#cwd, name), text);
    return name;
  };

  read = (name: string): string => readFileSync(join(this.#cwd, name), 'utf8');

  /** What control has in force, and as revision 2; `null`: nothing was ever published. */
  publishing = async (policy: unknown): Promise<void> => {
    const body = { policyRevision: 3, policyDigest: 'a', publishedAtMs: 0, policy };
    const answers: Readonly<Record<string, Answer>> = {
      'GET /v1/policy': policy === null ? problem('not_found') : { status: 200, body },
      'GET /v1/policy/revisions/2': { status: 200, body: { ...body, policyRevision: 2 } },
    };
    this.#standIn = await openStandIn(
      ({ method, path }) => answers[`${method} ${path}`] ?? problem('not_found'),
    );
  };
}
