/**
 * From the JSON Pointer of a problem to the line and column where somebody has to look. What is
 * missing has no place of its own: then it is that of what it is missing from.
 */
import { LineCounter, isMap, isNode, isScalar, isSeq, parseDocument, type Node } from 'yaml';
import type { PolicyProblem } from '../../../shared/core/policy.ts';
import type { Place } from '../failures.ts';
import type { PolicySource } from './policy-source.ts';

type Position = { readonly line: number; readonly column: number };

/** Of what the reader of the text itself found, before there were pointers. */
const SYNTAX_POSITION = /^line (\d+), column (\d+): /;

export class SourcePlaces {
  readonly #source: PolicySource;
  readonly #lines = new LineCounter();
  #root: Node | null | undefined;

  constructor(source: PolicySource) {
    this.#source = source;
  }

  place({ path, message }: PolicyProblem): Place {
    const { file } = this.#source;
    const syntax = path === '' ? SYNTAX_POSITION.exec(message) : null;
    if (syntax !== null) {
      const [found, line, column] = syntax;
      const rest = message.slice(found.length);
      return { path, message: rest, file, line: Number(line), column: Number(column) };
    }
    return { path, message, file, ...this.position(path) };
  }

  /** `null` where the text cannot be read at all. */
  position(pointer: string): Position | null {
    // JSON is read as YAML: it has the same nodes, and they know where they are.
    this.#root ??= parseDocument(this.#source.bytes.toString('utf8'), {
      uniqueKeys: false,
      prettyErrors: false,
      lineCounter: this.#lines,
    }).contents;
    const offset = offsetOf(this.#root, pointer);
    if (offset === null) return null;
    const { line, col } = this.#lines.linePos(offset);
    return { line, column: col };
  }
}

function offsetOf(root: Node | null, pointer: string): number | null {
  let node: unknown = root;
  let offset = root?.range?.[0] ?? null;
  const steps = pointer.split('/').slice(1);
  for (const step of steps.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))) {
    if (isSeq(node)) {
      node = node.items[Number(step)];
      offset = (isNode(node) ? node.range?.[0] : undefined) ?? offset;
      continue;
    }
    if (!isMap(node)) return offset;
    const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === step);
    if (pair === undefined) return offset;
    offset = (isScalar(pair.key) ? pair.key.range?.[0] : undefined) ?? offset;
    node = pair.value;
  }
  return offset;
}
