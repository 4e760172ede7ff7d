/**
 * One way to write a policy document, so that a diff of two shows what was decided and not who
 * typed it.
 *
 * F1  The meaning stays: the digest of what was written is that of what was read, or nothing is.
 * F2  No comment is lost.
 * F3  What was written is written the same again.
 *
 * Fields stand in the order of the schema; entries that have names of their own (principals, config,
 * effects) stay in the order of their author. Collections in braces stay so while they fit on a
 * line and hold no comment, and a long text keeps the lines that its author gave it.
 */
import {
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  parseDocument,
  stringify,
  visit,
  YAMLMap,
  YAMLSeq,
  type Node,
  type Pair,
  type Scalar,
  type ScalarTag,
  type Tags,
  type ToStringOptions,
} from 'yaml';
import { digestOf } from '../../../shared/platform/digest.ts';
import type { PolicyFormat } from '../../../shared/platform/policy-gate.ts';
import { PolicyDocumentSchema } from '../../../shared/wire/policy-document.ts';

const LINE_WIDTH = 100;
const INDENT = 2;
/** As deep as a document may be: each pass moves a comment by one level at least. */
const PASSES_MAX = 32;
/** Lines are broken by structure only: a folded expression would be hard to compare. */
const WRITTEN: ToStringOptions = { lineWidth: 0, singleQuote: true, indentSeq: true };
/** Words that older readers of YAML take for something else are quoted. */
const READ = {
  version: '1.2',
  compat: 'yaml-1.1',
  uniqueKeys: false,
  prettyErrors: false,
} as const;

type Schema = {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
};

const DOCUMENT = PolicyDocumentSchema as object as Schema;

/** For a text that the gate can parse. */
export function formatPolicy(text: string, format: PolicyFormat): string {
  const value: unknown =
    format === 'json' ? JSON.parse(text) : (parseDocument(text, READ).toJS() as unknown);
  const formatted =
    format === 'json'
      ? `${JSON.stringify(inOrder(value, DOCUMENT), null, 2)}\n`
      : settledYaml(text);
  const again: unknown =
    format === 'json' ? JSON.parse(formatted) : parseDocument(formatted, READ).toJS();
  if (digestOf(again) !== digestOf(value)) {
    throw new Error('formatting would change what the document means; nothing was written');
  }
  return formatted;
}

/** The document without its comments, in the canonical order: what a diff compares. */
export function canonicalYaml(value: unknown): string {
  return stringify(inOrder(value, DOCUMENT), {
    ...WRITTEN,
    aliasDuplicateObjects: false,
  });
}

/**
 * F3. The library gives some comments to another node when it reads them back from where it wrote
 * them, so one pass may leave work for the next.
 */
function settledYaml(text: string): string {
  let settled = text;
  for (let pass = 0; pass < PASSES_MAX; pass += 1) {
    const formatted = formatYaml(settled);
    if (formatted === settled) break;
    settled = formatted;
  }
  return settled;
}

function formatYaml(text: string): string {
  const document = parseDocument(text, { ...READ, customTags: withKeptFolds(text) });
  let hasAliases = false;
  visit(document, { Alias: () => void (hasAliases = true) });
  visit(document, {
    Scalar: (_key, node) => {
      if (typeof node.value === 'string' && !isBlockScalar(node.type)) delete node.type;
    },
  });
  // An alias must stay behind its anchor, so then nothing moves.
  if (!hasAliases) {
    orderFields(document.contents, DOCUMENT, 'root');
    openWide(document.contents, { indent: 0, column: 0 });
  }
  visit(document, {
    Collection: (_key, node) => {
      padBraces(node);
      closeHead(node);
    },
  });
  return document.toString(WRITTEN);
}

/** No blank line stands between a field and what belongs to it. */
function closeHead(node: YAMLMap | YAMLSeq): void {
  const [first] = node.items as readonly unknown[];
  const head = isPair(first) ? first.key : first;
  if (isNode(head)) head.spaceBefore = false;
  if (!isMap(node)) return;
  for (const { value } of node.items) if (isCollection(value)) value.spaceBefore = false;
}

/** `{ a: 1 }` and `[1]`, as the formatter that most people have writes it. */
function padBraces(node: YAMLMap | YAMLSeq): void {
  const { prototype } = isMap(node) ? YAMLMap : YAMLSeq;
  const flowCollectionPadding = isMap(node) ? ' ' : '';
  const toString: typeof prototype.toString = (context, ...rest) =>
    prototype.toString.call(node, context && { ...context, flowCollectionPadding }, ...rest);
  Object.defineProperty(node, 'toString', { value: toString });
}

/**
 * Strings whose author folded them (`>`) keep their lines: an expression is broken where it makes
 * sense, which no width knows.
 */
function withKeptFolds(text: string): (tags: Tags) => Tags {
  return (tags) =>
    tags.map((tag) => {
      if (typeof tag === 'string' || tag.tag !== 'tag:yaml.org,2002:str') return tag;
      const standard = tag as ScalarTag;
      const withFolds: ScalarTag['stringify'] = (item, context, onComment, onChompKeep) =>
        keptFold(text, item, context.indent) ??
        standard.stringify?.(item, context, onComment, onChompKeep) ??
        '';
      return { ...standard, stringify: withFolds };
    });
}

function keptFold(
  text: string,
  { type, value, range, comment }: Scalar,
  indent: string,
): string | null {
  const isPlainFold = type === 'BLOCK_FOLDED' && typeof comment !== 'string' && range;
  if (!isPlainFold || typeof value !== 'string') return null;
  const [, ...lines] = text.slice(range[0], range[1]).trimEnd().split('\n');
  const words = lines.map((line) => line.trim());
  const joinedWords = words.join(' ');
  // Blank and deeper lines mean more than a space.
  const header = value === joinedWords ? '>-' : value === `${joinedWords}\n` ? '>' : null;
  if (header === null || words.includes('')) return null;
  return [header, ...words.map((line) => indent + line)].join('\n');
}

const isBlockScalar = (type: string | undefined): boolean =>
  type === 'BLOCK_LITERAL' || type === 'BLOCK_FOLDED';

/** Where a map stands says whose the comment over its first field is. */
type Standing = 'root' | 'field' | 'item';

function orderFields(node: unknown, schema: Schema | undefined, standing: Standing): void {
  if (isSeq(node)) for (const item of node.items) orderFields(item, schema?.items, 'item');
  if (!isMap(node)) return;
  for (const pair of node.items) {
    orderFields(pair.value, memberSchema(schema, keyOf(pair)), 'field');
  }
  if (schema?.properties === undefined) return;
  const [before] = node.items;
  node.items = byRank(node.items, keyOf, schema.properties);
  const [first] = node.items;
  if (before === undefined || first === undefined || first === before) return;
  moveHeadComment(node, { before, first, standing });
}

/**
 * Over the first field of the document stands what is said of the document, and over that of an
 * item what is said of the item: both stay on top, and so does what is said of a field that comes to
 * the top. Elsewhere a comment goes where its field goes.
 */
function moveHeadComment(
  map: YAMLMap,
  { before, first, standing }: { before: Pair; first: Pair; standing: Standing },
): void {
  const [from, to] = {
    root: [before.key, first.key],
    field: [map, before.key],
    item: [first.key, map],
  }[standing];
  if (!isNode(from) || !isNode(to) || typeof from.commentBefore !== 'string') return;
  const [above, below] = standing === 'item' ? [to, from] : [from, to];
  to.commentBefore = joined(above.commentBefore, below.commentBefore);
  from.commentBefore = null;
}

const joined = (...comments: readonly (string | null | undefined)[]): string =>
  comments.filter((comment) => typeof comment === 'string').join('\n');

function openWide(node: unknown, at: { readonly indent: number; readonly column: number }): void {
  if (!isCollection(node)) return;
  if (node.flow === true) {
    const isWide = () => at.column + flowLength(node) > LINE_WIDTH;
    if (!hasCommentInside(node) && !isWide()) return;
    node.flow = false;
  }
  const indent = at.indent + INDENT;
  for (const item of node.items) {
    if (!isPair(item)) openWide(item, { indent, column: indent });
    else openWide(item.value, { indent, column: at.indent + keyOf(item).length + ': '.length });
  }
}

const flowLength = (node: Node): number => stringify(node, WRITTEN).trimEnd().length;

function hasCommentInside(root: Node): boolean {
  let found = false;
  visit(root, {
    Node: (_key, node) => {
      // What stands behind the last brace, or before the first, is no trouble.
      if (node !== root) found ||= Boolean(node.comment ?? node.commentBefore);
    },
  });
  return found || root.comment?.includes('\n') === true;
}

const keyOf = ({ key }: Pair): string => (isScalar(key) ? String(key.value) : '');

function memberSchema(schema: Schema | undefined, key: string): Schema | undefined {
  const [pattern] = Object.keys(schema?.patternProperties ?? {});
  return (
    schema?.properties?.[key] ??
    (pattern === undefined ? undefined : schema?.patternProperties?.[pattern])
  );
}

function inOrder(value: unknown, schema: Schema | undefined): unknown {
  if (Array.isArray(value)) return value.map((item) => inOrder(item, schema?.items));
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).map(
    ([key, member]) => [key, inOrder(member, memberSchema(schema, key))] as const,
  );
  return Object.fromEntries(byRank(members, ([key]) => key, schema?.properties ?? {}));
}

/** What the schema does not know comes after what it does, as it was. */
function byRank<T>(
  items: readonly T[],
  nameOf: (item: T) => string,
  properties: Readonly<Record<string, unknown>>,
): T[] {
  const ranks = new Map(Object.keys(properties).map((name, rank) => [name, rank]));
  const rankOf = (item: T): number => ranks.get(nameOf(item)) ?? ranks.size;
  return items.toSorted((a, b) => rankOf(a) - rankOf(b));
}
