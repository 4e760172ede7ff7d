/** `holdfast policy diff`, `policy fmt` and `policy schema`: offline, as a CI runs them. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Compile } from 'typebox/compile';
import { parse } from 'yaml';
import type { PolicyDocumentSchema } from '../../../shared/wire/policy-document.ts';
import { POLICY, PolicyCli } from './policy-cli.ts';

const SAMPLE = join(import.meta.dirname, '../../../deploy/examples/policy.yaml');

const cli = new PolicyCli();
const { run, file, read, publishing } = cli;

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
    const { mode } = statSync(join(cli.cwd, 'a.yaml'));

    expect((await run('fmt', '--write', 'a.yaml')).out).toBe('a.yaml\n');

    expect(statSync(join(cli.cwd, 'a.yaml')).mode).toBe(mode);
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
