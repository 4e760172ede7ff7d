/**
 * What the README and the example workflow tell a CI to run, run as it stands, in a directory that is
 * somebody else's repository.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parse } from 'yaml';
import { xmlTree } from '../fakes/xml-tree.ts';
import { REPOSITORY_ROOT } from '../tidy/source-tree.ts';
import { answerPattern, readmeSteps } from './readme-steps.ts';

const CLI = join(REPOSITORY_ROOT, 'control/cli/main.ts');
const EXAMPLES = join(REPOSITORY_ROOT, 'deploy/examples');

let directory: string;
let environment: NodeJS.ProcessEnv;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'policy-ci-'));
  mkdirSync(join(directory, 'bin'));
  const npx = join(directory, 'bin/npx');
  writeFileSync(npx, `#!/bin/sh\nshift\nexec "${process.execPath}" "${CLI}" "$@"\n`);
  chmodSync(npx, 0o755);
  environment = {
    ...Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST')),
    ),
    PATH: `${join(directory, 'bin')}:${process.env['PATH']}`,
  };
});

afterEach(() => rmSync(directory, { recursive: true }));

function bash(command: string, more: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync('bash', ['-e', '-o', 'pipefail', '-c', command], {
    cwd: directory,
    env: { ...environment, ...more },
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

test('every command of "Policy in CI" answers as the README says', () => {
  symlinkSync(join(REPOSITORY_ROOT, 'deploy'), join(directory, 'deploy'));
  const steps = readmeSteps('policy in ci');
  expect(steps.length).toBeGreaterThan(5);
  for (const { command, expected } of steps) {
    // In a terminal a command that fails does not end the shell.
    const { stdout, stderr } = bash(`set +e\n${command}`);
    expect(stdout.trim(), `$ ${command}\n${stderr}`).toMatch(answerPattern(expected));
  }
  expect(xmlTree(readFileSync(join(directory, 'report.xml'), 'utf8')).attributes['tests']).toBe(
    '18',
  );
}, 60_000);

type Workflow = {
  readonly jobs: {
    readonly policy: {
      readonly env: { readonly HOLDFAST: string };
      readonly steps: readonly {
        readonly name?: string;
        readonly run?: string;
        readonly 'working-directory'?: string;
      }[];
    };
  };
};

/** A repository with the policy on main, and a branch that loosens it. */
function makeRepository(): void {
  mkdirSync(join(directory, 'policies/tests'), { recursive: true });
  cpSync(join(EXAMPLES, 'policy.yaml'), join(directory, 'policies/shop.yaml'));
  cpSync(join(EXAMPLES, 'ci/shop-tests.yaml'), join(directory, 'policies/tests/shop.yaml'));
  symlinkSync(REPOSITORY_ROOT, join(directory, 'holdfast'));
  const git = 'git -c user.name=a -c user.email=a@example.invalid -c init.defaultBranch=main';
  const { status, stderr } = bash(
    `${git} init -q && ${git} add policies && ${git} commit -qm first && ${git} clone -q --bare . origin.git && ${git} remote add origin origin.git`,
  );
  expect(status, stderr).toBe(0);
}

test('every step of the example workflow runs, and says what a pull request loosens', () => {
  makeRepository();
  const policy = join(directory, 'policies/shop.yaml');
  const change = (from: string, to: string): void =>
    writeFileSync(policy, readFileSync(policy, 'utf8').replace(from, to));
  const workflow = parse(
    readFileSync(join(EXAMPLES, 'ci/policy-workflow.yaml'), 'utf8'),
  ) as Workflow;
  const { env, steps } = workflow.jobs.policy;
  const more = {
    ...env,
    GITHUB_BASE_REF: 'main',
    GITHUB_STEP_SUMMARY: join(directory, 'summary.md'),
    PATH: `${join(process.execPath, '..')}:${environment['PATH']}`,
  };
  const own = steps.filter(
    ({ run, 'working-directory': at }) => run !== undefined && at === undefined,
  );
  const runAll = () => own.map(({ name, run = '' }) => ({ name, ...bash(run, more) }));

  change('maxStaleness: 5m', 'maxStaleness: 6m');
  for (const { name, status, stderr } of runAll()) expect(status, `${name}: ${stderr}`).toBe(0);
  const summary = readFileSync(join(directory, 'summary.md'), 'utf8');
  expect(summary).toContain('+    maxStaleness: 6m\n');
  expect(summary).toMatch(/^looser +\/rules\/0\/maxStaleness /m);

  // The gates catch what they are there for.
  change('attributes.amount <= 500', 'attributes.amount <= 5');
  change('kind: Policy', 'kind: "Policy"');
  expect(runAll().map(({ name, status }) => [name, status])).toEqual([
    ['One form', 1],
    ['Every gate of the publication', 1],
    ['Tests, and every rule reached by one', 1],
    ['What changes, looser or tighter', 0],
  ]);
}, 60_000);
