/** Operators and their tokens. A token is shown once; what is kept of it is its SHA-256. */
import type { Clock } from '../../shared/platform/clock.ts';
import { sha256Hex } from '../../shared/platform/digest.ts';
import { randomText, type Random } from '../../shared/platform/random.ts';
import type { Operator, OperatorRole, OperatorToken } from '../../shared/wire/control-api.ts';
import { HoldfastError } from '../../shared/wire/problem.ts';
import type { OperatorStore } from '../store/control-store.ts';

const TOKEN_BYTES = 32;
const TOKEN_PREFIX = 'hfo1';

export class OperatorRegistry {
  readonly #store: OperatorStore;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(ports: { store: OperatorStore; clock: Clock; random: Random }) {
    this.#store = ports.store;
    this.#clock = ports.clock;
    this.#random = ports.random;
  }

  /** `operator_exists` where the name is taken. */
  async add(
    asked: { readonly name: string; readonly roles: readonly OperatorRole[] },
    actor: string,
  ): Promise<OperatorToken> {
    const token = makeOperatorToken(this.#random);
    const operator = await this.#add(asked, token, actor);
    return { ...operator, token };
  }

  /** `not_found`, or `last_admin`: somebody must be able to add operators. */
  async remove(name: string, actor: string): Promise<void> {
    const atMs = this.#clock.now().wallMs;
    const audit = { atMs, actor, action: 'operator.removed', target: name, detail: {} };
    const outcome = await this.#store.remove(name, audit);
    if (outcome === 'not_found')
      throw new HoldfastError('not_found', `there is no operator ${name}`);
    if (outcome === 'last_admin') {
      throw new HoldfastError('last_admin', `${name} is the only admin: add another admin first`);
    }
  }

  list(): Promise<readonly Operator[]> {
    return this.#store.list();
  }

  /** The operator whose token this is, or `null`. */
  find(token: string): Promise<Operator | null> {
    return this.#store.byToken(sha256Hex(token));
  }

  /**
   * Makes the first admin of a store that has no operators. The token is handed to `keep` before
   * the store knows it: a crash in between leaves a token that opens nothing, never an admin whose
   * token is lost.
   */
  async ensureAdmin(keep: (token: string) => void): Promise<boolean> {
    if ((await this.#store.list()).length > 0) return false;
    const token = makeOperatorToken(this.#random);
    keep(token);
    await this.#add({ name: 'admin', roles: ['admin'] }, token, 'control');
    return true;
  }

  async #add(
    asked: { readonly name: string; readonly roles: readonly OperatorRole[] },
    token: string,
    actor: string,
  ): Promise<Operator> {
    const { name } = asked;
    const roles = [...asked.roles];
    const createdAtMs = this.#clock.now().wallMs;
    const outcome = await this.#store.add(
      { name, roles, createdAtMs, tokenSha256: sha256Hex(token) },
      { atMs: createdAtMs, actor, action: 'operator.added', target: name, detail: { roles } },
    );
    if (outcome === 'exists') {
      throw new HoldfastError('operator_exists', `there is an operator ${name}: remove it first`);
    }
    return { name, roles, createdAtMs };
  }
}

function makeOperatorToken(random: Random): string {
  return `${TOKEN_PREFIX}.${randomText(random, TOKEN_BYTES)}`;
}
