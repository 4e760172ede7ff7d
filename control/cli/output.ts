/**
 * What the command prints. Data goes to standard output, in the format asked for; everything else
 * goes to standard error, so that a pipe carries only data.
 *
 * Text that came over the network is never written to a terminal as it is: control characters in it
 * could move the cursor and lie about what the rest of the screen says.
 */
import { styleText } from 'node:util';
import { stringify as toYaml } from 'yaml';
import { placeText, type Failure } from './failures.ts';
import type { Stream } from './surroundings.ts';

export const OUTPUT_FORMATS = ['table', 'json', 'yaml', 'name'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

export type Column<T> = { readonly header: string; readonly value: (item: T) => string };

/** How one kind of thing is shown. */
export type View<T> = {
  /** In the plural, as in `no operations`. */
  readonly noun: string;
  readonly name: (item: T) => string;
  readonly columns: readonly Column<T>[];
  /** For one item by itself; `null` leaves a line out. Without it, its columns are used. */
  readonly details?: readonly (readonly [label: string, value: (item: T) => string | null])[];
};

export type Listed<T> = { readonly items: readonly T[]; readonly nextCursor: string | null };

export type OutputOptions = {
  readonly format: OutputFormat;
  readonly hasColour: boolean;
  readonly isQuiet: boolean;
  readonly stdout: Stream;
  readonly stderr: Stream;
};

export class Output {
  readonly format: OutputFormat;
  readonly #options: OutputOptions;

  constructor(options: OutputOptions) {
    this.format = options.format;
    this.#options = options;
  }

  list<T>(listed: Listed<T>, view: View<T>): void {
    const { items, nextCursor } = listed;
    if (this.format === 'name') this.#lines(items.map((item) => inert(view.name(item))));
    else if (this.format !== 'table') this.#structured({ items, nextCursor });
    else if (items.length === 0) this.note(`no ${view.noun}`);
    else this.table(items, view.columns);
    if (nextCursor !== null) {
      this.note(
        `there are more ${view.noun}: raise --limit, or go on with --cursor ${inert(nextCursor)}`,
      );
    }
  }

  item<T>(item: T, view: View<T>): void {
    if (this.format === 'name') this.#lines([inert(view.name(item))]);
    else if (this.format !== 'table') this.#structured(item);
    else if (view.details === undefined) this.table([item], view.columns);
    else {
      const lines = view.details.flatMap(([label, value]) => {
        const text = value(item);
        return text === null ? [] : [[label, text] as const];
      });
      this.fields(lines);
    }
  }

  /** What was done, as a sentence for people and as the whole answer for programs. */
  done(answer: unknown, options: { readonly sentence: string; readonly name: string }): void {
    if (this.format === 'name') this.#lines([inert(options.name)]);
    else if (this.format === 'table') this.#lines([inert(options.sentence)]);
    else this.#structured(answer);
  }

  /** Data that has a layout of its own for people. */
  custom(value: unknown, show: () => void): void {
    if (this.format === 'table' || this.format === 'name') show();
    else this.#structured(value);
  }

  table<T>(items: readonly T[], columns: readonly Column<T>[]): void {
    const rows = [
      columns.map(({ header }) => header),
      ...items.map((item) => columns.map(({ value }) => inert(value(item)) || '-')),
    ];
    const widths = columns.map((_, at) => Math.max(...rows.map((row) => (row[at] ?? '').length)));
    this.#lines(
      rows.map((row, index) => {
        const cells = row.map((cell, at) => {
          const padded = at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0);
          return index === 0 ? padded : this.#toned(cell, padded);
        });
        return cells.join('   ').trimEnd();
      }),
    );
  }

  fields(lines: readonly (readonly [label: string, value: string])[]): void {
    const width = Math.max(0, ...lines.map(([label]) => label.length)) + 1;
    this.#lines(
      lines.map(([label, value]) => {
        const text = inert(value) || '-';
        return `${`${label}:`.padEnd(width)}  ${this.#toned(text, text)}`;
      }),
    );
  }

  /** A line of data for people, as a heading or a sentence. */
  line(text = ''): void {
    this.#lines([inert(text)]);
  }

  heading(text: string): void {
    this.#lines([
      this.#options.hasColour ? styleText('bold', text, { validateStream: false }) : text,
    ]);
  }

  /** Bytes that are data as they stand. */
  raw(text: string): void {
    this.#options.stdout.write(text);
  }

  /** For people, beside the data. */
  note(text: string): void {
    if (!this.#options.isQuiet) this.#options.stderr.write(`${inert(text)}\n`);
  }

  failure(failure: Failure): void {
    const { stderr } = this.#options;
    const { exitCode, stack, ...shown } = failure;
    if (this.format === 'json') {
      stderr.write(`${JSON.stringify({ ...shown, exitCode })}\n`);
      return;
    }
    const label = this.#options.hasColour
      ? styleText('red', 'error:', { validateStream: false })
      : 'error:';
    stderr.write(`${label} ${inert(failure.detail)} (${inert(failure.code)})\n`);
    const places = failure.errors.map(placeText);
    // A daemon that has found one thing says it in the detail as well.
    if (places.length !== 1 || places[0] !== failure.detail) {
      for (const place of places) stderr.write(`  ${inert(place)}\n`);
    }
    if (failure.hint !== null) stderr.write(`hint: ${failure.hint}\n`);
    if (stack !== null) stderr.write(`${stack}\n`);
  }

  #structured(value: unknown): void {
    const text =
      this.format === 'json'
        ? `${JSON.stringify(value, null, 2)}\n`
        : toYaml(value, { lineWidth: 0 });
    this.#options.stdout.write(text);
  }

  #lines(lines: readonly string[]): void {
    if (lines.length > 0) this.#options.stdout.write(`${lines.join('\n')}\n`);
  }

  #toned(word: string, text: string): string {
    const tone = this.#options.hasColour ? TONES[word] : undefined;
    return tone === undefined ? text : styleText(tone, text, { validateStream: false });
  }
}

/** Words that stand for a state, wherever they stand alone in a cell. */
const TONES: Readonly<Record<string, 'green' | 'yellow' | 'red'>> = {
  ok: 'green',
  succeeded: 'green',
  connected: 'green',
  held: 'green',
  settled: 'green',
  approved: 'green',
  published: 'green',
  executing: 'green',
  tighter: 'green',
  unknown: 'yellow',
  awaiting_approval: 'yellow',
  pending: 'yellow',
  paused: 'yellow',
  late: 'yellow',
  impaired: 'yellow',
  looser: 'yellow',
  degraded: 'yellow',
  in_grace: 'yellow',
  wanted: 'yellow',
  settling: 'yellow',
  needs_reconciliation: 'yellow',
  failed: 'red',
  denied: 'red',
  expired: 'red',
  lost: 'red',
  down: 'red',
  disconnected: 'red',
  refused: 'red',
  unreachable: 'red',
};

/** Colour is for a terminal and a person who has not declined it. */
export function wantsColour(options: {
  readonly isAllowed: boolean;
  readonly stream: Stream;
  readonly env: Readonly<Record<string, string | undefined>>;
}): boolean {
  const { isAllowed, stream, env } = options;
  const declined = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return isAllowed && stream.isTTY === true && !declined;
}

/** Control characters as escapes; a line break becomes a space, so that a row stays a row. */
export function inert(text: string): string {
  return text
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll(
      /\p{Cc}/gu,
      (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
    );
}
