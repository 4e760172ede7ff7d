/** Names and ids that the daemon has given: with them requests reach further than a refusal. */
import type { Draw } from '../draw.ts';
import type { WireAnswer } from './wire-client.ts';

const KEPT_MAX = 64;
const NAMES = [
  'operationId',
  'outageId',
  'hostId',
  'hostName',
  'proposalId',
  'requestId',
  'divergenceId',
  'resource',
  'name',
  'key',
  'nextCursor',
  'policyRevision',
  'attempt',
  'payloadDigest',
  'documentDigest',
  'joinToken',
];
const FIELDS = new RegExp(
  String.raw`"(${NAMES.join('|')})":\s*("(?:[^"\\]|\\.){1,400}"|\d{1,15})`,
  'g',
);
const FIELDS_MAX = 20;

/** Of a parameter, the fields that may be meant by it. */
const MEANT: Readonly<Record<string, readonly string[]>> = {
  id: ['operationId', 'operationId', 'outageId'],
  cursor: ['nextCursor'],
  host: ['hostId'],
  outage: ['outageId'],
  group: ['name'],
  revision: ['policyRevision'],
};

export class SeenValues {
  readonly #kept = new Map<string, string[]>();
  /** So that nothing which the run itself needs is taken away. */
  readonly #reserved: ReadonlySet<string>;

  constructor(reserved: readonly string[]) {
    this.#reserved = new Set(reserved);
  }

  learn({ headers, body, status }: WireAnswer, draw: Draw): void {
    if (status >= 300) return;
    const etag = headers.get('etag');
    if (etag !== undefined) this.#keep('etag', etag, draw);
    let count = 0;
    for (const [, field = '', text = ''] of body.slice(0, 20_000).matchAll(FIELDS)) {
      this.#keep(field, text.startsWith('"') ? (JSON.parse(text) as string) : text, draw);
      count += 1;
      if (count === FIELDS_MAX) return;
    }
  }

  some(parameter: string, draw: Draw): string | undefined {
    const field = draw.one(MEANT[parameter] ?? [parameter]);
    const kept = this.#kept.get(field);
    return kept === undefined || kept.length === 0 ? undefined : draw.one(kept);
  }

  #keep(field: string, value: string, draw: Draw): void {
    if (this.#reserved.has(value)) return;
    const kept = this.#kept.get(field) ?? [];
    if (kept.includes(value)) return;
    if (kept.length < KEPT_MAX) kept.push(value);
    else kept[draw.below(KEPT_MAX)] = value;
    this.#kept.set(field, kept);
  }
}
