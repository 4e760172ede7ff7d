/** `holdfast policy fmt`: F1 (meaning), F2 (comments), F3 (again the same), and how it looks. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fc } from '../../fakes/properties.ts';
import { describe, expect, test } from 'vitest';
import { parse, parseDocument } from 'yaml';
import { formatPolicy } from '../../../control/cli/policy/policy-format.ts';
import { digestOf } from '../../../shared/platform/digest.ts';

const SAMPLE = readFileSync(
  join(import.meta.dirname, '../../../deploy/examples/policy.yaml'),
  'utf8',
);

const yaml = (text: string): string => formatPolicy(text, 'yaml');

/** Of every comment the words, in no order: fields move, and their comments with them. */
function commentsOf(text: string): string[] {
  return text
    .split('\n')
    .flatMap((line) => /#c\d+/.exec(line)?.[0] ?? [])
    .toSorted();
}

/** Documents as people write them: any order, any style, comments between and behind. */
const documents = fc
  .record({
    rules: fc.array(
      fc.record(
        {
          name: fc.stringMatching(/^[a-z]{1,8}$/),
          description: fc.oneof(
            fc.string({ unit: 'binary', maxLength: 40 }).filter((text) => text.isWellFormed()),
            fc.constantFrom('yes', '1e3', 'null', '- a', 'a: b', '# c', 'two\nlines\n', ' x ', ''),
          ),
          actions: fc.array(fc.stringMatching(/^[a-z]{1,12}\.[a-z]{1,12}$/), { maxLength: 12 }),
          permit: fc.array(
            fc.record({ message: fc.string({ maxLength: 60 }), expression: fc.constant('a > 1') }),
            { maxLength: 2 },
          ),
          effects: fc.dictionary(
            fc.stringMatching(/^[a-z]{1,5}$/),
            fc.record({ fencing: fc.constant('none') }),
            { maxKeys: 3 },
          ),
          freshness: fc.constantFrom('fresh', 'bounded'),
          unheardOf: fc.jsonValue(),
        },
        { requiredKeys: ['name'] },
      ),
      { maxLength: 3 },
    ),
    kind: fc.constant('Policy'),
    defaults: fc.record(
      { deadline: fc.constant('5m'), freshness: fc.constant('fresh') },
      { requiredKeys: [] },
    ),
  })
  .chain((value) =>
    fc
      .record({
        flow: fc.boolean(),
        quote: fc.constantFrom('QUOTE_DOUBLE', 'QUOTE_SINGLE', 'PLAIN'),
        commented: fc.infiniteStream(fc.boolean()),
      })
      .map(({ flow, quote, commented }) => {
        const document = parseDocument(JSON.stringify(value));
        return decorated(document, { flow, quote, commented });
      }),
  );

type Commented = {
  type?: string;
  commentBefore?: string;
  comment?: string;
  spaceBefore?: boolean;
};

function decorated(
  document: ReturnType<typeof parseDocument>,
  { flow, quote, commented }: { flow: boolean; quote: string; commented: Iterator<boolean> },
): string {
  let count = 0;
  const decorate = (node: unknown, depth: number): void => {
    if (typeof node !== 'object' || node === null) return;
    const item = node as {
      flow?: boolean;
      type?: string;
      value?: unknown;
      key?: unknown;
      items?: unknown[];
    };
    if (item.items !== undefined) {
      item.flow = flow && depth > 2;
      for (const member of item.items) decorate(member, depth + 1);
    } else if (item.key !== undefined) {
      const { key, value } = item as { key: Commented; value: Commented | null };
      const isMarked = (): boolean => commented.next().value === true;
      if (!flow && isMarked()) key.commentBefore = ` #c${(count += 1)}`;
      if (!flow && isMarked()) key.spaceBefore = true;
      decorate(key, depth);
      decorate(value, depth);
      if (isMarked() && value?.type !== undefined) value.comment = ` #c${(count += 1)}`;
    } else if (typeof item.value === 'string') item.type = quote;
  };
  decorate(document.contents, 0);
  return document.toString({ lineWidth: 60 });
}

describe('of any document', () => {
  test('F1: the digest of what is written is that of what was read', () => {
    fc.assert(
      fc.property(documents, (text) => {
        expect(digestOf(parse(yaml(text)))).toBe(digestOf(parse(text)));
      }),
      { numRuns: 100 },
    );
  });

  test('F2: no comment is lost', () => {
    fc.assert(
      fc.property(documents, (text) => {
        expect(commentsOf(yaml(text))).toEqual(commentsOf(text));
      }),
      { numRuns: 100 },
    );
  });

  test('F3: what was written is written the same again', () => {
    fc.assert(
      fc.property(documents, (text) => {
        const once = yaml(text);
        expect(yaml(once)).toBe(once);
      }),
      { numRuns: 100 },
    );
  });
});

describe('the form', () => {
  test('of the sample policy is the one it has', () => {
    expect(yaml(SAMPLE)).toBe(SAMPLE);
  });

  test('puts fields in the order of the schema, each with its comment', () => {
    const text = [
      '# of the document',
      'kind: Policy',
      '# of the version',
      'apiVersion: holdfast/v1',
      'rules:',
      '  # of the rule',
      '  - permit:',
      '      - { message: no, \'expression\': "true" } # behind',
      '    # of the name',
      '    name: a',
      'defaults:',
      '  # of the deadline',
      '  deadline: 1m',
      '  freshness: fresh',
    ].join('\n');
    expect(yaml(text)).toBe(
      [
        '# of the document',
        '# of the version',
        'apiVersion: holdfast/v1',
        'kind: Policy',
        'defaults:',
        '  freshness: fresh',
        '  # of the deadline',
        '  deadline: 1m',
        'rules:',
        '  # of the rule',
        '  # of the name',
        '  - name: a',
        '    permit:',
        "      - { expression: 'true', message: 'no' } # behind",
        '',
      ].join('\n'),
    );
  });

  test('keeps braces while they fit, and the lines that an author gave a long text', () => {
    const long = 'a'.repeat(80);
    const text = [
      `tests: [{ name: ${long}, given: { action: ${long} } }]`,
      'rules:',
      '  - { name: a, actions: [ "a.b" ] }',
      '  - permit:',
      '      - expression: >-',
      '          attributes.amount > 0 &&',
      '          attributes.amount < 9',
    ].join('\n');
    expect(yaml(text)).toBe(
      [
        'rules:',
        '  - { name: a, actions: [a.b] }',
        '  - permit:',
        '      - expression: >-',
        '          attributes.amount > 0 &&',
        '          attributes.amount < 9',
        'tests:',
        `  - name: ${long}`,
        '    given:',
        `      action: ${long}`,
        '',
      ].join('\n'),
    );
  });

  test('leaves the order alone where an alias needs its anchor before it', () => {
    const text = 'rules: &r\n  - name: a\nkind: *r\n';
    expect(yaml(text)).toBe(text);
  });

  test('of JSON is two spaces, in the order of the schema', () => {
    expect(formatPolicy('{"kind":"Policy","apiVersion":"holdfast/v1"}', 'json')).toBe(
      '{\n  "apiVersion": "holdfast/v1",\n  "kind": "Policy"\n}\n',
    );
  });
});
