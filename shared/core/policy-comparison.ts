/**
 * What a policy document would change, as data: each setting that got looser, tighter, or merely
 * different. Pure, so that control says the same at publication as the command line offline.
 *
 * M1  Rules are the same rule when they have the same name; what is compared are their effective
 *     terms, so a changed default shows at every rule that it reaches.
 * M2  `tighter` is said only where no request can gain by the change taken alone. What cannot be
 *     told without running an expression is `changed`, never `tighter`.
 */
import type { PolicyDocument, PolicyRule } from '../wire/policy-document.ts';
import { compareTerms } from './terms-comparison.ts';
import { formatDurationMs, parseDurationMs } from './time.ts';

export type ChangeKind = 'looser' | 'tighter' | 'changed';

export type PolicyChange = {
  /** JSON Pointer into the new document; into the old one where the new one has no such place. */
  readonly path: string;
  readonly kind: ChangeKind;
  readonly before: string | null;
  readonly after: string | null;
  readonly sentence: string;
};

type Place = { readonly rule: PolicyRule; readonly position: number };

/** In the order of the document: principals, variables, rules, config. */
export function comparePolicies(before: PolicyDocument, after: PolicyDocument): PolicyChange[] {
  return [
    ...comparePrincipals(before, after),
    ...compareVariables(before, after),
    ...compareRules(before, after),
    ...compareConfig(before, after),
  ];
}

/** Whether the changes may let anything happen that could not happen before. */
export function mayLoosen(changes: readonly PolicyChange[]): boolean {
  return changes.some(({ kind }) => kind !== 'tighter');
}

const pointer = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');

function comparePrincipals(before: PolicyDocument, after: PolicyDocument): PolicyChange[] {
  const changes: PolicyChange[] = [];
  for (const [id, { roles }] of Object.entries(after.principals)) {
    const path = `/principals/${pointer(id)}`;
    const held = Object.hasOwn(before.principals, id) ? before.principals[id] : undefined;
    if (held === undefined) {
      const sentence = `principal ${id} is new, with ${roles.join(', ')}`;
      changes.push({ path, kind: 'looser', before: null, after: roles.join(', '), sentence });
      continue;
    }
    const texts = { before: held.roles.join(', '), after: roles.join(', ') };
    const gained = roles.filter((role) => !held.roles.includes(role));
    const lost = held.roles.filter((role) => !roles.includes(role));
    if (gained.length > 0) {
      const sentence = `principal ${id} gets ${gained.join(', ')}`;
      changes.push({ path: `${path}/roles`, kind: 'looser', ...texts, sentence });
    }
    if (lost.length > 0) {
      const sentence = `principal ${id} loses ${lost.join(', ')}`;
      changes.push({ path: `${path}/roles`, kind: 'tighter', ...texts, sentence });
    }
  }
  for (const [id, { roles }] of Object.entries(before.principals)) {
    if (Object.hasOwn(after.principals, id)) continue;
    const path = `/principals/${pointer(id)}`;
    const sentence = `principal ${id} is gone: all it asks for is refused`;
    changes.push({ path, kind: 'tighter', before: roles.join(', '), after: null, sentence });
  }
  return changes;
}

/** One that is new or gone changes nothing by itself: what uses it is compared where it stands. */
function compareVariables(before: PolicyDocument, after: PolicyDocument): PolicyChange[] {
  const held = new Map((before.variables ?? []).map(({ name, expression }) => [name, expression]));
  return (after.variables ?? []).flatMap(({ name, expression }, index): PolicyChange[] => {
    const was = held.get(name);
    if (was === undefined || was === expression) return [];
    const sentence = `variable ${name} is another expression, wherever rules use it`;
    const path = `/variables/${index}/expression`;
    return [{ path, kind: 'changed', before: was, after: expression, sentence }];
  });
}

function compareRules(before: PolicyDocument, after: PolicyDocument): PolicyChange[] {
  const held = placesByName(before);
  const kept = placesByName(after);
  const changes: PolicyChange[] = [];
  after.rules.forEach((rule, position) => {
    const was = held.get(rule.name);
    const path = `/rules/${position}`;
    if (was === undefined) changes.push(addedRule(rule, path));
    else {
      changes.push(
        ...compareActions(was.rule, rule, path),
        ...compareExpressions({ field: 'match', was: was.rule, is: rule, path }),
        ...compareExpressions({ field: 'permit', was: was.rule, is: rule, path }),
        ...compareEnforcement(was.rule, rule, path),
        ...compareTerms({
          was: { rule: was.rule, defaults: before.defaults },
          is: { rule, defaults: after.defaults },
          path,
        }),
      );
    }
  });
  before.rules.forEach((rule, position) => {
    if (!kept.has(rule.name)) changes.push(removedRule(rule, position, after));
  });
  return [...changes, ...reorderedRules(held, after)];
}

function placesByName(document: PolicyDocument): Map<string, Place> {
  return new Map(document.rules.map((rule, position) => [rule.name, { rule, position }]));
}

const isNever = (rule: PolicyRule): boolean =>
  (rule.enforcement ?? 'deny') === 'deny' &&
  rule.permit.some(({ expression }) => expression.trim() === 'false');

function addedRule(rule: PolicyRule, path: string): PolicyChange {
  const actions = rule.actions.join(', ');
  return isNever(rule)
    ? {
        path,
        kind: 'tighter',
        before: null,
        after: actions,
        sentence: `rule ${rule.name} is new and permits nothing of ${actions}`,
      }
    : {
        path,
        kind: 'looser',
        before: null,
        after: actions,
        sentence: `rule ${rule.name} is new, for ${actions}`,
      };
}

function removedRule(rule: PolicyRule, position: number, after: PolicyDocument): PolicyChange {
  const path = `/rules/${position}`;
  const actions = rule.actions.join(', ');
  const heir = after.rules.find((other) => overlap(rule.actions, other.actions));
  const isTighter = heir === undefined;
  const sentence = isTighter
    ? `rule ${rule.name} is gone: no rule is left for ${actions}`
    : `rule ${rule.name} is gone: its requests may now be decided by rule ${heir.name}`;
  return { path, kind: isTighter ? 'tighter' : 'changed', before: actions, after: null, sentence };
}

/** Of two rules for the same action the first decides, so their order is part of the policy. */
const COMPARISONS_MAX = 1_000_000;

function reorderedRules(held: ReadonlyMap<string, Place>, after: PolicyDocument): PolicyChange[] {
  const seen: { readonly rule: PolicyRule; readonly was: number }[] = [];
  let [highest, comparisons] = [-1, 0];
  for (const [position, rule] of after.rules.entries()) {
    const was = held.get(rule.name)?.position;
    if (was === undefined) continue;
    if (was < highest) {
      comparisons += seen.length;
      const rival =
        comparisons > COMPARISONS_MAX
          ? seen.find((other) => other.was > was)
          : seen.find((other) => other.was > was && overlap(other.rule.actions, rule.actions));
      if (rival !== undefined) {
        const sentence = `rule ${rival.rule.name} now comes before rule ${rule.name}: what fits both is decided by another rule`;
        const order = [rule.name, rival.rule.name];
        return [
          {
            path: `/rules/${position}`,
            kind: 'changed',
            before: order.join(', '),
            after: order.toReversed().join(', '),
            sentence,
          },
        ];
      }
    }
    highest = Math.max(highest, was);
    seen.push({ rule, was });
  }
  return [];
}

/** Every action that fits `narrow` fits `wide`. */
function covers(wide: string, narrow: string): boolean {
  return (
    wide === '*' || wide === narrow || (wide.endsWith('.*') && narrow.startsWith(wide.slice(0, -1)))
  );
}

function overlap(some: readonly string[], others: readonly string[]): boolean {
  return some.some((a) => others.some((b) => covers(a, b) || covers(b, a)));
}

function compareActions(was: PolicyRule, is: PolicyRule, path: string): PolicyChange[] {
  const isNew = (from: PolicyRule, to: PolicyRule): string[] =>
    to.actions.filter((one) => !from.actions.some((held) => covers(held, one)));
  const [gained, lost] = [isNew(was, is), isNew(is, was)];
  const texts = { before: was.actions.join(', '), after: is.actions.join(', ') };
  const changes: PolicyChange[] = [];
  const at = `${path}/actions`;
  if (gained.length > 0) {
    const sentence = `rule ${is.name} is now also for ${gained.join(', ')}`;
    changes.push({ path: at, kind: 'looser', ...texts, sentence });
  }
  if (lost.length > 0) {
    // Another rule may take them, and permit more.
    const sentence = `rule ${is.name} is no longer for ${lost.join(', ')}: another rule may decide them`;
    changes.push({ path: at, kind: 'changed', ...texts, sentence });
  }
  return changes;
}

function compareExpressions(compared: {
  readonly field: 'match' | 'permit';
  readonly was: PolicyRule;
  readonly is: PolicyRule;
  readonly path: string;
}): PolicyChange[] {
  const { field, was, is } = compared;
  const sourcesOf = (rule: PolicyRule): string[] =>
    (rule[field] ?? []).map(({ expression }) => expression);
  const [held, given] = [sourcesOf(was), sourcesOf(is)];
  const gone = held.filter((source) => !given.includes(source));
  const added = given.filter((source) => !held.includes(source));
  if (gone.length === 0 && added.length === 0) return [];
  const what = field === 'match' ? 'match' : 'permit expression';
  const path = `${compared.path}/${field}`;
  const texts = {
    before: gone.length === 0 ? null : gone.join(' && '),
    after: added.length === 0 ? null : added.join(' && '),
  };
  if (gone.length > 0 && added.length > 0) {
    return [{ path, kind: 'changed', ...texts, sentence: `rule ${is.name}: ${what} is another` }];
  }
  if (gone.length > 0) {
    const sentence = `rule ${is.name}: ${what} removed, so it holds for more`;
    return [{ path, kind: 'looser', ...texts, sentence }];
  }
  // What a new match keeps out goes on to the next rule, which may permit it.
  return field === 'match'
    ? [
        {
          path,
          kind: 'changed',
          ...texts,
          sentence: `rule ${is.name}: match added; what it keeps out is decided by another rule or by none`,
        },
      ]
    : [{ path, kind: 'tighter', ...texts, sentence: `rule ${is.name}: ${what} added` }];
}

function compareEnforcement(was: PolicyRule, is: PolicyRule, path: string): PolicyChange[] {
  const [before, after] = [was.enforcement ?? 'deny', is.enforcement ?? 'deny'];
  if (before === after) return [];
  const kind = before === 'deny' ? 'looser' : after === 'deny' ? 'tighter' : 'changed';
  const does = after === 'deny' ? 'refuses' : 'is let through and noted';
  const sentence = `rule ${is.name}: a false permit now ${does} (${before} before, ${after} now)`;
  return [{ path: `${path}/enforcement`, kind, before, after, sentence }];
}

const EXPIRY_ORDER = ['error', 'default', 'last'];

function compareConfig(before: PolicyDocument, after: PolicyDocument): PolicyChange[] {
  const changes: PolicyChange[] = [];
  const [held, given] = [before.config ?? {}, after.config ?? {}];
  const add = (key: string, field: string, change: Omit<PolicyChange, 'path'>): void =>
    void changes.push({ path: `/config/${pointer(key)}${field}`, ...change });
  for (const [key, entry] of Object.entries(given)) {
    const was = Object.hasOwn(held, key) ? held[key] : undefined;
    if (was === undefined) {
      const sentence = `config ${key} is new`;
      add(key, '', { kind: 'changed', before: null, after: textOf(entry.value), sentence });
      continue;
    }
    for (const field of ['value', 'default'] as const) {
      const [old, now] = [textOf(was[field]), textOf(entry[field])];
      if (old === now) continue;
      const sentence = `config ${key}: ${field} is another`;
      add(key, `/${field}`, { kind: 'changed', before: old, after: now, sentence });
    }
    const [wasMs, isMs] = [was.maxStaleness, entry.maxStaleness].map(
      (text) => parseDurationMs(text) ?? 0,
    ) as [number, number];
    if (wasMs !== isMs) {
      add(key, '/maxStaleness', {
        kind: isMs > wasMs ? 'looser' : 'tighter',
        before: formatDurationMs(wasMs),
        after: formatDurationMs(isMs),
        sentence: `config ${key}: its value is good for ${isMs > wasMs ? 'longer' : 'less'} without control`,
      });
    }
    if (was.onExpiry !== entry.onExpiry) {
      const isLooser = EXPIRY_ORDER.indexOf(entry.onExpiry) > EXPIRY_ORDER.indexOf(was.onExpiry);
      add(key, '/onExpiry', {
        kind: isLooser ? 'looser' : 'tighter',
        before: was.onExpiry,
        after: entry.onExpiry,
        sentence: `config ${key}: once it has expired apps get ${entry.onExpiry}, not ${was.onExpiry}`,
      });
    }
  }
  for (const [key, entry] of Object.entries(held)) {
    if (Object.hasOwn(given, key)) continue;
    const sentence = `config ${key} is gone: apps that read it get an error`;
    add(key, '', { kind: 'changed', before: textOf(entry.value), after: null, sentence });
  }
  return changes;
}

const TEXT_LENGTH_MAX = 200;

function textOf(value: unknown): string | null {
  if (value === undefined) return null;
  const text = JSON.stringify(value);
  return text.length > TEXT_LENGTH_MAX ? `${text.slice(0, TEXT_LENGTH_MAX)}…` : text;
}
