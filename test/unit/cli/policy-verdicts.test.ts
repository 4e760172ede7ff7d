/** `holdfast policy validate` and `policy test`: offline, as a CI runs them. */
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { xmlTree } from '../../fakes/xml-tree.ts';
import { FAILING, POLICY, PolicyCli } from './policy-cli.ts';

const { run, file, read } = new PolicyCli();

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

  test('says what may not be meant, as a publication does', async () => {
    file(
      'a.yaml',
      POLICY.replace('rules:', 'variables:\n  - { name: unused, expression: "true" }\nrules:'),
    );

    const { exitCode, err } = await run('validate', 'a.yaml');

    expect(exitCode).toBe(0);
    expect(err).toMatch(/^warning: a\.yaml:\d+:\d+: \/variables\/0.*unused/m);
    expect((await run('validate', '--strict', 'a.yaml')).exitCode).toBe(1);
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
    expect(err).toMatch(
      /^ {2}bad\.json:3:3: Map keys must be unique: remove or rename one of them$/m,
    );
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
            {
              path: '/rules/1/name',
              message: 'is required: add lower case, digits and hyphens',
              line: 14,
              column: 5,
            },
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
        'FAIL a.yaml:19:5: test "a small one passes" expected decision deny, got permit (permitted: ): mend the rule, or what the test expects',
        '  decided: permit (permitted) by rule small',
        '  rule small:',
        '    match[0] is true    has(attributes.amount)',
        '    permit[0] is true    "agent" in principal.roles',
        '    permit[1] is true    attributes.amount <= 500',
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
    expect(out).toContain('    match[0] is false   has(attributes.amount)');
    expect(out).toMatch(
      /FAIL more\.yaml:7:5: [^]*permit\[1\] is failed  attributes\.amount <= 500\n {6}\S/,
    );
    expect(out).toContain('a.yaml: 1 of 3 tests passed');
  });

  test('shows the variables that were used', async () => {
    const policy = FAILING.replace(
      'rules:',
      "variables:\n  - { name: limit, expression: '250 + 250' }\nrules:",
    ).replace('amount <= 500', 'amount <= variables.limit');
    const { out } = await run('test', file('a.yaml', policy));
    expect(out).toContain('    permit[1] is true    attributes.amount <= variables.limit\n');
    expect(out).toContain('  variables.limit is 500\n');
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
    expect(failed?.children[0]?.text).toContain('permit[1] is true    attributes.amount <= 500');
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
              trace: { rules: [{ rule: 'small', match: [{ outcome: 'true' }], permit: [{}, {}] }] },
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
