/** What a reader copies from the page of recipes is the code that the tests run. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { FENCED_UPDATE } from '../../../deploy/examples/fencing/fenced-writes.ts';
import { REDIS_FENCED_SET } from '../../../shared/client/index.ts';

const read = (name: string): string =>
  readFileSync(new URL(`../../../deploy/examples/fencing/${name}`, import.meta.url), 'utf8');
const page = read('README.md');

function snippets(language: string): string[] {
  const fenced = new RegExp(`^\`\`\`${language}\\n(.*?)\\n\`\`\`$`, 'gms');
  return [...page.matchAll(fenced)].map(([, text]) => text ?? '');
}

describe('deploy/examples/fencing/README.md', () => {
  test('the SQL and the Lua are the constants', () => {
    expect(snippets('sql')).toEqual([FENCED_UPDATE.trim()]);
    expect(snippets('lua')).toEqual([REDIS_FENCED_SET.trim()]);
  });

  test('each snippet of TypeScript is a whole function of the files beside it', () => {
    const code = `${read('fenced-writes.ts')}\n${read('guarded-service.ts')}`;
    const shown = snippets('ts');
    expect(shown).toHaveLength(5);
    for (const snippet of shown) expect(code).toContain(`\n${snippet}\n`);
  });

  test('no snippet is of a kind that is not compared', () => {
    const kinds = [...page.matchAll(/^```(\w+)$/gm)].map(([, kind]) => kind);
    expect(new Set(kinds)).toEqual(new Set(['sql', 'lua', 'ts']));
  });
});
