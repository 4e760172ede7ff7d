/** Conditional registers: what is decided is decided by the writer of the journal (I1, I6). */
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { LeaseAuthority } from '../authority/authority-view.ts';
import type { RegisterWrite, StoredRegister } from '../core/register.ts';
import type { Journal } from '../journal/journal.ts';

export class Registers {
  readonly #journal: Journal;
  readonly #leases: LeaseAuthority;
  readonly #registersMax: number;

  constructor(parts: {
    readonly journal: Journal;
    readonly leases: LeaseAuthority;
    readonly registersMax: number;
  }) {
    this.#journal = parts.journal;
    this.#leases = parts.leases;
    this.#registersMax = parts.registersMax;
  }

  find(app: string, key: string): StoredRegister | null {
    return this.#journal.reader.register(app, key);
  }

  list(app: string, page: { afterKey: string; limit: number }): StoredRegister[] {
    return this.#journal.reader.registers(app, page);
  }

  /** Durable before it resolves; what was deleted is answered as it was asked for. */
  async write(write: Omit<RegisterWrite, 'isKnownHere' | 'registersMax'>): Promise<StoredRegister> {
    const { key, resource, epoch, valueText } = write;
    const answer = await this.#journal.submit({
      type: 'write_register',
      ...write,
      isKnownHere: this.#leases.lease(resource) !== undefined,
      registersMax: this.#registersMax,
    });
    if (answer.type === 'declined') throw new HoldfastError(answer.code, answer.detail);
    if (answer.type !== 'register')
      throw new Error(`the journal answered ${answer.type} to a write of register ${key}`);
    this.#leases.noteEpoch({ resource, epoch });
    const { version, updatedAtMs } = answer;
    return { key, resource, epoch, version, updatedAtMs, value: valueText ?? 'null' };
  }
}
