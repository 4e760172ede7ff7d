/**
 * A small fact kept on disk as JSON under a checksum: a torn or flipped file is `damaged`, never a
 * wrong fact. The checksum finds accidents; what must withstand an attacker is signed besides.
 */
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Static, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { digestOf } from '../../shared/platform/digest.ts';
import {
  readFileIfAny,
  syncDirectory,
  writeDurableFile,
} from '../../shared/platform/durable-file.ts';

export type StateRead<T> =
  | { readonly kind: 'absent' }
  | { readonly kind: 'damaged'; readonly detail: string }
  | { readonly kind: 'read'; readonly value: T };

export class StateFile<T extends TSchema> {
  readonly path: string;
  readonly #check: (value: unknown) => value is Static<T>;

  constructor(path: string, schema: T) {
    this.path = path;
    const checker = Compile(schema);
    this.#check = (value): value is Static<T> => checker.Check(value);
  }

  read(): StateRead<Static<T>> {
    const text = readFileIfAny(this.path);
    if (text === null) return { kind: 'absent' };
    let parsed: { checksum?: unknown; value?: unknown };
    try {
      parsed = JSON.parse(text) as typeof parsed;
      if (parsed.checksum !== digestOf(parsed.value)) return this.#damaged('its checksum differs');
    } catch (error) {
      return this.#damaged(error instanceof Error ? error.message : String(error));
    }
    if (!this.#check(parsed.value)) return this.#damaged('it does not fit its schema');
    return { kind: 'read', value: parsed.value };
  }

  /** On disk when it returns: for whatever must survive the power going. */
  writeDurably(value: Static<T>): void {
    writeDurableFile(this.path, this.#text(value));
  }

  /** Survives the process, not the power: for facts whose loss only shortens a right. */
  writeLazily(value: Static<T>): void {
    // Another temporary name than the durable write has, so that neither ever renames half of the
    // other.
    const temporary = `${this.path}.lazy`;
    writeFileSync(temporary, this.#text(value), { mode: 0o600 });
    renameSync(temporary, this.path);
  }

  /** For good when it returns: what is removed without a sync is back after the power was gone. */
  remove(): void {
    if (!existsSync(this.path)) return;
    rmSync(this.path, { force: true });
    syncDirectory(dirname(this.path));
  }

  #text(value: Static<T>): string {
    return JSON.stringify({ checksum: digestOf(value), value });
  }

  #damaged(detail: string): { kind: 'damaged'; detail: string } {
    return { kind: 'damaged', detail: `${this.path}: ${detail}` };
  }
}
