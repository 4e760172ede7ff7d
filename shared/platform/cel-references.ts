/** Which variables an expression names, and the refusal of a name that it cannot use. */
import type { ASTNode } from '@marcbachmann/cel-js';
import { nearestWord } from '../core/nearest-word.ts';
import type { ExpressionScope } from '../core/policy.ts';
import { childrenOf, variableNamed } from './cel-cost.ts';

export type References =
  | { readonly ok: true; readonly names: readonly string[] }
  | { readonly ok: false; readonly problem: string };

export function findReferences(ast: ASTNode, scope: ExpressionScope): References {
  const names = new Set<string>();
  const rest = [ast];
  for (let node = rest.pop(); node !== undefined; node = rest.pop()) {
    const name = variableNamed(node);
    if (name !== null) {
      names.add(name);
      continue;
    }
    if (node.op === 'id' && node.args === 'variables') {
      const problem = 'variables is not a value: name one of them, as variables.NAME';
      return { ok: false, problem };
    }
    const tested = node.op === 'call' && node.args[0] === 'has' ? node.args[1][0] : undefined;
    if (tested !== undefined && variableNamed(tested) !== null) {
      const problem = `a variable is always there: leave out has(), or ask for a field of variables.${variableNamed(tested)}`;
      return { ok: false, problem };
    }
    rest.push(...childrenOf(node));
  }
  const known = new Set(scope.variables.map((variable) => variable.name));
  const unknown = [...names].find((name) => !known.has(name));
  if (unknown === undefined) return { ok: true, names: [...names].toSorted() };
  return { ok: false, problem: scope.unusable.get(unknown) ?? noSuchVariable(unknown, [...known]) };
}

function noSuchVariable(name: string, known: readonly string[]): string {
  const meant = nearestWord(name, known);
  const wayOut =
    meant !== null
      ? `did you mean variables.${meant}?`
      : known.length === 0
        ? 'declare it under /variables'
        : `declared before this are ${known.join(', ')}`;
  return `there is no variable ${name}: ${wayOut}`;
}
