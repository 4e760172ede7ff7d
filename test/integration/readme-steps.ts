/** The commands that the README shows, each with its answer, between two marks in it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { REPOSITORY_ROOT } from '../tidy/source-tree.ts';

export type ReadmeStep = { readonly command: string; readonly expected: string };

export function readmeSteps(section: string): ReadmeStep[] {
  const readme = readFileSync(join(REPOSITORY_ROOT, 'README.md'), 'utf8');
  const [start, end] = [`<!-- ${section} -->`, `<!-- end of ${section} -->`];
  const text = readme.slice(readme.indexOf(start), readme.indexOf(end));
  const steps: { command: string; expected: string[] }[] = [];
  for (const [, block] of text.matchAll(/```console\n([\s\S]*?)```/g)) {
    for (const line of (block ?? '').split('\n').slice(0, -1)) {
      if (line.startsWith('$ ')) steps.push({ command: line.slice(2), expected: [] });
      else steps.at(-1)?.expected.push(line);
    }
  }
  return steps.map(({ command, expected }) => ({ command, expected: expected.join('\n') }));
}

/** `…` stands for anything, runs of spaces for each other. */
export function answerPattern(expected: string): RegExp {
  const parts = expected
    .trim()
    .split('…')
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll(/ +/g, ' +'));
  return new RegExp(`^${parts.join(String.raw`[\s\S]*?`)}$`);
}
