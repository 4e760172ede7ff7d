/**
 * Rules that no request can reach, variables that nothing uses, conditions that are the same for
 * every request.
 */
import type { PolicyRule } from '../wire/policy-document.ts';
import type { CompiledPolicy, CompiledRule, PolicyProblem } from './policy.ts';

type Earlier = { readonly position: number; readonly name: string };

/**
 * Rules that earlier ones keep every request from: those take all their actions, under no `match`,
 * under one of theirs, or under the same. Each pattern and `match` remembers the first such rule, so
 * one pass finds them all.
 */
export class Shadows {
  /** Exact actions, `prefix.*` and `*`, each under a match. */
  readonly #taken = new Map<string, Earlier>();

  /** The problem of a rule, given those before it; call it in document order. */
  next(rule: PolicyRule, position: number): PolicyProblem[] {
    const own = matchOf(rule);
    const all = keyOf(own);
    const keys = [...new Set(['', ...own, all])];
    const shadows = rule.actions.map((pattern) => this.#first(pattern, keys));
    for (const pattern of rule.actions) {
      const taken = `${pattern} ${all}`;
      if (!this.#taken.has(taken)) this.#taken.set(taken, { position, name: rule.name });
    }
    if (!shadows.every((found) => found !== undefined)) return [];
    const under = all === '' ? '' : ', under no match that this one does not have';
    return [
      {
        path: `/rules/${position}`,
        message: `rule ${rule.name} can never be reached: rule ${shadows[0]?.name} comes first and takes the same actions${under}; reorder them or give the first a match`,
      },
    ];
  }

  #first(pattern: string, matches: readonly string[]): Earlier | undefined {
    let first: Earlier | undefined;
    const consider = (taken: string): void => {
      for (const match of matches) {
        const found = this.#taken.get(`${taken} ${match}`);
        if (found !== undefined && (first === undefined || found.position < first.position)) {
          first = found;
        }
      }
    };
    consider('*');
    consider(pattern);
    for (let dot = pattern.indexOf('.'); dot !== -1; dot = pattern.indexOf('.', dot + 1)) {
      consider(`${pattern.slice(0, dot)}.*`);
    }
    return first;
  }
}

function matchOf({ match }: PolicyRule): string[] {
  return [...new Set((match ?? []).map(({ expression }) => expression))].toSorted();
}

/** Of none, nothing; of one expression, itself. */
function keyOf(expressions: readonly string[]): string {
  return expressions.length < 2 ? (expressions[0] ?? '') : JSON.stringify(expressions);
}

export function lintConstants({ rules }: CompiledPolicy): PolicyProblem[] {
  return rules.flatMap(({ name, position, match }) =>
    match.flatMap(({ constant }, index): PolicyProblem[] => {
      if (constant !== false) return [];
      const message = `is always false, so rule ${name} can never be reached: mend it, or remove the rule`;
      return [{ path: `/rules/${position}/match/${index}/expression`, message }];
    }),
  );
}

export function warnOfConstants({ rules }: CompiledPolicy): PolicyProblem[] {
  return rules.flatMap((rule) => [
    ...rule.match.flatMap(({ constant }, index): PolicyProblem[] => {
      if (constant !== true) return [];
      const path = `/rules/${rule.position}/match/${index}/expression`;
      return [{ path, message: 'is always true: leave it out' }];
    }),
    ...rule.permit.flatMap(({ expression: { constant } }, index): PolicyProblem[] => {
      if (constant !== false) return [];
      const path = `/rules/${rule.position}/permit/${index}/expression`;
      return [{ path, message: neverPermits(rule) }];
    }),
  ]);
}

function neverPermits({ name, enforcement }: CompiledRule): string {
  return enforcement === 'deny'
    ? `is always false, so rule ${name} never permits: if it is not meant to refuse all of this, mend it`
    : `is always false, so rule ${name} warns of all that it permits: mend it, or use enforcement deny`;
}

export function warnOfUnused({ variables, rules }: CompiledPolicy): PolicyProblem[] {
  const used = new Set(
    rules.flatMap(({ match, permit }) =>
      [...match, ...permit.map(({ expression }) => expression)].flatMap(({ uses }) => uses),
    ),
  );
  // Backwards: each is used only by what comes after it.
  for (const { name, expression } of variables.toReversed()) {
    if (used.has(name)) for (const earlier of expression.uses) used.add(earlier);
  }
  return variables.flatMap(({ name }, index) =>
    used.has(name)
      ? []
      : [{ path: `/variables/${index}`, message: `no rule uses ${name}: use it or remove it` }],
  );
}
