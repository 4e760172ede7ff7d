/** `holdfast policy validate|test|diff|fmt|schema`: offline, as a CI runs them. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Compile } from 'typebox/compile';
import { parse } from 'yaml';
import { runCommand } from '../../../control/cli/program.ts';
import type { PolicyDocumentSchema } from '../../../shared/wire/policy-document.ts';
import { openStandIn, problem, type Answer, type StandIn } from '../../fakes/http-stand-in.ts';
import { xmlTree } from '../../fakes/xml-tree.ts';

const SAMPLE = join(import.meta.dirname, '../../../deploy/examples/policy.yaml');

let cwd: string;
let standIn: StandIn | undefined;

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'holdfast-'));
});

afterEach(async () => {
  await standIn?.close();
  standIn = undefined;
  rmSync(cwd, { recursive: true });
});

async function run(...argv: string[]): Promise<{ exitCode: number; out: string; err: string }> {
  const written = { out: '', err: '' };
  const exitCode = await runCommand({
    argv: ['policy', ...argv],
    env: standIn === undefined ? {} : { HOLDFAST_CONTROL_URL: standIn.url },
    cwd,
    stdout: { write: (text) => (written.out += text) },
    stderr: { write: (text) => (written.err += text) },
  });
  return { exitCode, ...written };
}

function file(name: string, text: string): string {
  writeFileSync(join(cwd, name), text);
  return name;
}

const read = (name: string): string => readFileSync(join(cwd, name), 'utf8');

/** Two rules, of which the tests reach one. */
const POLICY = `apiVersion: holdfast/v1
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
const FAILING = POLICY.replace('decision: permit', 'decision: deny');

async function publishing(policy: unknown): Promise<void> {
  const body = { policyRevision: 3, policyDigest: 'a', publishedAtMs: 0, policy };
  const answers: Readonly<Record<string, Answer>> = {
    'GET /v1/policy': policy === null ? problem('not_found') : { status: 200, body },
    'GET /v1/policy/revisions/2': { status: 200, body: { ...body, policyRevision: 2 } },
  };
  standIn = await openStandIn(
    ({ method, path }) => answers[`${method} ${path}`] ?? problem('not_found'),
  );
}

describe('policy validate', () => {
  test('takes several files and patterns, and prints each verdict', async () => {
    file('a.yaml', POLICY);
    file('b.json', JSON.stringify(parse(POLICY)));

    const { exitCode, out, err } = await run('validate', '*.{yaml,json}');

    expect(exitCode).toBe(0);
    expect(out).toBe(
      'a.yaml is valid (rules: 2, tests passed: 1)\nb.json is valid (rules: 2, tests passed: 1)\n',
    );
    expect(err).toContain('warning: a.yaml:14:5: /rules/1: rule other decides in no test\n');
  });

  test('names file, line and column of each problem, also in JSON and where the text is no YAML', async () => {
    file('bad.yaml', POLICY.replace('attributes.amount <= 500', 'amount <= 500'));
    file('bad.json', '{\n  "kind": "Policy",\n  "kind": "Policy"\n}\n');
    file('torn.yaml', 'rules: [\n');
    file('good.yaml', POLICY);

    const { exitCode, out, err } = await run(
      'validate',
      'bad.yaml',
      'bad.json',
      'torn.yaml',
      'good.yaml',
    );

    expect(exitCode).toBe(1);
    expect(out).toBe('good.yaml is valid (rules: 2, tests passed: 1)\n');
    expect(err).toMatch(/^error: 3 of 4 do not validate: \d+ problems \(policy_invalid\)$/m);
    expect(err).toMatch(/^ {2}bad\.yaml:12:9: \/rules\/0\/permit\/1\/expression: .*amount/m);
    expect(err).toMatch(/^ {2}bad\.json:3:3: Map keys must be unique$/m);
    expect(err).toMatch(/^ {2}torn\.yaml:2:1: /m);
  });

  test('-o json says all of it as data, and still fails', async () => {
    file('bad.yaml', POLICY.replace('name: other', 'nam: other'));

    const { exitCode, out, err } = await run('validate', 'bad.yaml', '-o', 'json');

    expect(exitCode).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      files: [
        {
          file: 'bad.yaml',
          valid: false,
          problems: [
            { path: '/rules/1/name', message: 'is required', line: 14, column: 5 },
            { path: '/rules/1/nam', line: 14, column: 5 },
          ],
        },
      ],
    });
    expect(JSON.parse(err)).toMatchObject({ code: 'policy_invalid', exitCode: 1 });
  });

  test('--strict makes a warning a failure', async () => {
    file('a.yaml', POLICY);
    file('untested.yaml', POLICY.replace(/tests:[^]*/, ''));

    const { exitCode, err } = await run('validate', '--strict', 'a.yaml', 'untested.yaml');

    expect(exitCode).toBe(1);
    expect(err).toContain('(policy_warnings)');
    expect(err).toContain('  a.yaml:14:5: /rules/1: rule other decides in no test\n');
    expect(err).toContain('  untested.yaml:1:1: /tests: there are none');
  });

  test('a pattern that matches nothing fails: a CI that checks nothing must not be green', async () => {
    const { exitCode, err } = await run('validate', 'policies/*.yaml');
    expect(exitCode).toBe(1);
    expect(err).toContain('policies/*.yaml matches no file (file_unreadable)');
  });
});

describe('policy test', () => {
  test('counts what passes', async () => {
    const { exitCode, out } = await run('test', file('a.yaml', POLICY));
    expect(exitCode).toBe(0);
    expect(out).toBe('a.yaml: 1 of 1 test passed\n');
  });

  test('shows of each that fails the place, the decision and every expression of its rule', async () => {
    const { exitCode, out, err } = await run('test', file('a.yaml', FAILING));

    expect(exitCode).toBe(1);
    expect(out).toBe(
      [
        'FAIL a.yaml:19:5: test "a small one passes" expected decision deny, got permit (permitted: )',
        '  decided: permit (permitted) by rule small',
        '  rule small:',
        '    match[0] is true  has(attributes.amount)',
        '    permit[0] is true  "agent" in principal.roles',
        '    permit[1] is true  attributes.amount <= 500',
        'a.yaml: 0 of 1 test passed',
        '',
      ].join('\n'),
    );
    expect(err).toContain('1 of 1 test failed (test_failed)');
  });

  test('shows the rules that did not match, and why an expression could not be computed', async () => {
    const tests = `apiVersion: holdfast/v1
kind: PolicyTests
tests:
  - name: nothing fits
    given: { principal: agent:a, action: pay }
    expect: { decision: permit }
  - name: a word is no number
    given: { principal: agent:a, action: pay, attributes: { amount: many } }
    expect: { decision: permit }
`;
    const { exitCode, out } = await run(
      'test',
      file('a.yaml', POLICY),
      '--tests',
      file('more.yaml', tests),
    );

    expect(exitCode).toBe(1);
    expect(out).toContain('FAIL more.yaml:4:5: test "nothing fits"');
    expect(out).toContain('decided: deny (no_rule)');
    expect(out).toContain('    match[0] is false has(attributes.amount)');
    expect(out).toMatch(
      /FAIL more\.yaml:7:5: [^]*permit\[1\] is error attributes\.amount <= 500\n {6}\S/,
    );
    expect(out).toContain('a.yaml: 1 of 3 tests passed');
  });

  test('a test file is checked under the schema of tests, at its own places', async () => {
    const tests = `apiVersion: holdfast/v1
kind: PolicyTest
test: []
tests:
  - name: a
`;
    const policy = file('a.yaml', POLICY);
    const head = await run('test', policy, '--tests', file('head.yaml', tests));
    expect(head.exitCode).toBe(1);
    expect(head.err).toContain('head.yaml:2:1: /kind: must be "PolicyTests"');
    expect(head.err).toContain('head.yaml:3:1: /test: unknown field; did you mean tests?');

    const body = tests.replace('PolicyTest', 'PolicyTests').replace('test: []\n', '');
    const { exitCode, err } = await run('test', policy, '--tests', file('body.yaml', body));
    expect(exitCode).toBe(1);
    expect(err).toContain('body.yaml:4:5: /tests/0/given: is required');
  });

  test('--filter takes tests by their name, and fails where there is none', async () => {
    file(
      'a.yaml',
      `${POLICY}  - { name: odd, given: { principal: agent:b, action: pay }, expect: { decision: deny } }\n`,
    );

    expect((await run('test', 'a.yaml', '--filter', 'odd')).out).toBe(
      'a.yaml: 1 of 1 test passed\n',
    );
    const { exitCode, err } = await run('test', 'a.yaml', '--filter', 'even');
    expect(exitCode).toBe(1);
    expect(err).toContain(
      'there is no test with "even" in its name, so nothing was tested (test_absent)',
    );
  });

  test('--coverage lists the rules that decide in no test; --coverage-min fails on them', async () => {
    file('a.yaml', POLICY);

    const listed = await run('test', 'a.yaml', '--coverage');
    expect(listed.exitCode).toBe(0);
    expect(listed.out).toContain(
      'a.yaml: tests reach 1 of 2 rules (50%)\n  a.yaml:14:5: /rules/1: rule other decides in no test\n',
    );

    expect((await run('test', 'a.yaml', '--coverage-min', '50')).exitCode).toBe(0);
    const low = await run('test', 'a.yaml', '--coverage-min', '51');
    expect(low.exitCode).toBe(1);
    expect(low.err).toContain('tests reach less than 51% of the rules of a.yaml (coverage_low)');
    expect((await run('test', 'a.yaml', '--coverage-min', '101')).exitCode).toBe(2);
  });

  test('--junit writes a report that says the same, whatever is in the names', async () => {
    file('a.yaml', FAILING.replace('a small one passes', '"<a> & \\"b\\" \\x01 \\uD800]]>"'));
    file('torn.yaml', 'rules: [\n');

    const { exitCode } = await run('test', 'a.yaml', 'torn.yaml', '--junit', 'report.xml');

    expect(exitCode).toBe(1);
    const root = xmlTree(read('report.xml'));
    expect(root).toMatchObject({
      name: 'testsuites',
      attributes: { tests: '2', failures: '1', errors: '1' },
    });
    const [first, second] = root.children;
    expect(first).toMatchObject({
      name: 'testsuite',
      attributes: { name: 'a.yaml', failures: '1' },
    });
    const [failed] = first?.children ?? [];
    expect(failed).toMatchObject({
      name: 'testcase',
      attributes: { name: '<a> & "b" \\u0001 \\ud800]]>', classname: 'a.yaml', line: '19' },
    });
    expect(failed?.children[0]).toMatchObject({ name: 'failure', attributes: { type: 'failure' } });
    expect(failed?.children[0]?.text).toContain('permit[1] is true  attributes.amount <= 500');
    expect(second?.children[0]?.children[0]).toMatchObject({ name: 'error' });
  });

  test('-o json has the decision, the trace and the coverage', async () => {
    const { out } = await run('test', file('a.yaml', FAILING), '-o', 'json');
    expect(JSON.parse(out)).toMatchObject({
      files: [
        {
          file: 'a.yaml',
          passed: 0,
          failed: 1,
          tests: [
            {
              name: 'a small one passes',
              line: 19,
              passed: false,
              got: { decision: 'permit', rule: 'small', reason: 'permitted' },
              trace: [{ rule: 'small', expressions: [{ part: 'match', value: 'true' }, {}, {}] }],
            },
          ],
          coverage: { reached: 1, percent: 50, unreached: [{ path: '/rules/1', line: 14 }] },
        },
      ],
    });
  });

  test('a policy that does not validate is not tested', async () => {
    const { exitCode, out, err } = await run(
      'test',
      file('a.yaml', POLICY.replace('Policy', 'Polcy')),
    );
    expect(exitCode).toBe(1);
    expect(out).toBe('');
    expect(err).toContain('what does not validate cannot be tested (policy_invalid)');
    expect(err).toContain('a.yaml:2:1: /kind: must be "Policy"');
  });
});

describe('policy diff', () => {
  test('0 and nothing where two documents mean the same', async () => {
    file('a.yaml', POLICY);
    file('b.json', JSON.stringify(parse(POLICY)));
    expect(await run('diff', 'a.yaml', 'b.json')).toEqual({ exitCode: 0, out: '', err: '' });
  });

  test('1 and a unified diff where they do not', async () => {
    file('a.yaml', POLICY);
    file('b.yaml', POLICY.replaceAll('500', '900'));

    const { exitCode, out, err } = await run('diff', 'a.yaml', 'b.yaml', '--context', '0');

    expect(exitCode).toBe(1);
    expect(err).toBe('');
    expect(out).toContain('--- a.yaml\n+++ b.yaml\n');
    expect(out).toContain('-      - expression: attributes.amount <= 500\n');
    expect(out).toContain('+      - expression: attributes.amount <= 900\n');
  });

  test('says what got looser and what tighter, and of an invalid document only its text', async () => {
    file('a.yaml', POLICY);
    file(
      'b.yaml',
      POLICY.replace('[agent]', '[agent, boss]').replace(
        '- name: other',
        '$&\n    maxStaleness: 1m',
      ),
    );
    file('bad.yaml', POLICY.replace('name: other', 'nam: other'));

    const { out } = await run('diff', 'a.yaml', 'b.yaml');
    expect(out).toMatch(
      /^looser {2,}\/principals\/agent:a\/roles {2,}principal agent:a gets boss$/m,
    );
    expect(out).toMatch(/^tighter {2,}\/rules\/1\/maxStaleness {2,}rule other: .*/m);

    const invalid = await run('diff', 'a.yaml', 'bad.yaml');
    expect(invalid.exitCode).toBe(1);
    expect(invalid.out).not.toContain('EFFECT');
    expect(invalid.err).toContain('only the texts are compared: bad.yaml is no valid policy');
  });

  test('of one document is against what is in force on control, or an earlier revision', async () => {
    await publishing(parse(POLICY));
    file('same.yaml', POLICY);
    file('other.yaml', POLICY.replaceAll('500', '900'));

    expect(await run('diff', 'same.yaml')).toEqual({ exitCode: 0, out: '', err: '' });
    const differs = await run('diff', 'other.yaml');
    expect(differs.exitCode).toBe(1);
    expect(differs.out).toContain('--- policy revision 3\n+++ other.yaml\n');
    const earlier = await run('diff', 'other.yaml', '--revision', '2');
    expect(earlier.out).toContain('--- policy revision 2\n');
  });

  test('where nothing is published all of it is new', async () => {
    await publishing(null);
    const { exitCode, out } = await run('diff', file('a.yaml', POLICY));
    expect(exitCode).toBe(1);
    expect(out).toContain('--- nothing published\n+++ a.yaml\n');
    expect(out).toContain('+apiVersion: holdfast/v1\n');
  });

  test('what cannot be compared is 2, never 1', async () => {
    const policy = file('a.yaml', POLICY);
    expect((await run('diff', policy, 'absent.yaml')).exitCode).toBe(2);
    expect((await run('diff', policy, file('torn.yaml', 'rules: [\n'))).exitCode).toBe(2);
    expect((await run('diff', '-', '-')).exitCode).toBe(2);
    expect((await run('diff', policy, policy, '--revision', '2')).exitCode).toBe(2);
  });

  test('-o json is data', async () => {
    file('a.yaml', POLICY);
    file('b.yaml', POLICY.replaceAll('500', '900'));
    const { out } = await run('diff', 'a.yaml', 'b.yaml', '-o', 'json');
    expect(JSON.parse(out)).toMatchObject({
      from: 'a.yaml',
      to: 'b.yaml',
      differs: true,
      mayLoosen: true,
      changes: [{ path: '/rules/0/permit', kind: 'changed' }],
    });
  });
});

describe('policy fmt', () => {
  const LOOSE = POLICY.replace('kind: Policy\n', '').replace(
    'rules:',
    '# why\nkind: "Policy"\nrules:',
  );

  test('prints one document', async () => {
    const { exitCode, out } = await run('fmt', file('a.yaml', LOOSE));
    expect(exitCode).toBe(0);
    expect(out).toContain('apiVersion: holdfast/v1\n# why\nkind: Policy\nprincipals:\n');
    expect(read('a.yaml')).toBe(LOOSE);
  });

  test('--check changes nothing, lists what has another form, and fails', async () => {
    file('a.yaml', LOOSE);
    file('b.yaml', POLICY);

    const { exitCode, out, err } = await run('fmt', '--check', '*.yaml');

    expect(exitCode).toBe(1);
    expect(out).toBe('a.yaml\n');
    expect(err).toContain('1 of 2 files have another form (not_formatted)');
    expect(read('a.yaml')).toBe(LOOSE);
  });

  test('--write puts it right, keeps the rights of the file, and then --check is content', async () => {
    file('a.yaml', LOOSE);
    const { mode } = statSync(join(cwd, 'a.yaml'));

    expect((await run('fmt', '--write', 'a.yaml')).out).toBe('a.yaml\n');

    expect(statSync(join(cwd, 'a.yaml')).mode).toBe(mode);
    expect(await run('fmt', '--check', 'a.yaml')).toEqual({ exitCode: 0, out: '', err: '' });
    expect((await run('validate', 'a.yaml')).exitCode).toBe(0);
  });

  test('says the place in what cannot be read', async () => {
    const { exitCode, err } = await run('fmt', file('torn.yaml', 'rules: [\n'));
    expect(exitCode).toBe(1);
    expect(err).toMatch(/^ {2}torn\.yaml:2:1: /m);
  });

  test.each([
    [['fmt', '--check', '--write', 'a.yaml'], 'choose one'],
    [['fmt', '--write', '-'], 'no file to write it to'],
    [['fmt', 'a.yaml', 'b.yaml'], 'say --check or --write'],
  ])('%j is 2', async (argv, text) => {
    file('a.yaml', POLICY);
    file('b.yaml', POLICY);
    const { exitCode, err } = await run(...argv);
    expect(exitCode).toBe(2);
    expect(err).toContain(text);
  });
});

describe('policy schema', () => {
  test('is a JSON Schema of draft 2020-12 that says what the gate says', async () => {
    const { exitCode, out } = await run('schema');
    expect(exitCode).toBe(0);
    const schema = JSON.parse(out) as Record<string, unknown>;
    expect(schema).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $id: 'urn:holdfast:schema:policy:v1',
      type: 'object',
      additionalProperties: false,
    });
    // From its text alone, as an editor has it.
    const fromText = Compile(schema as unknown as typeof PolicyDocumentSchema);
    for (const text of [readFileSync(SAMPLE, 'utf8'), POLICY]) {
      expect(fromText.Check(parse(text))).toBe(true);
    }
    for (const wrong of [
      POLICY.replace('name: other', 'nam: other'),
      POLICY.replace('kind: Policy', 'kind: Polcy'),
      POLICY.replace('decision: permit', 'decision: maybe'),
      POLICY.replace('actions: [look]', 'actions: []'),
    ]) {
      expect(fromText.Check(parse(wrong))).toBe(false);
    }
  });

  test('--file writes it', async () => {
    expect((await run('schema', '--file', 'policy.schema.json')).out).toBe(
      'policy.schema.json written\n',
    );
    expect(JSON.parse(read('policy.schema.json'))).toHaveProperty('$id');
  });
});

test.each(['validate', 'test', 'diff', 'fmt', 'schema'])('policy %s --help', async (command) => {
  const { exitCode, out } = await run(command, '--help');
  expect(exitCode).toBe(0);
  expect(out).toContain(`Usage: holdfast policy ${command}`);
});
