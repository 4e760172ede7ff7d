/**
 * Records as the API shows them, where no response schema sees to it: what a record has beside the
 * fields of the wire is this host's own business, keys of workers among it.
 */
import type { Effect, Operation, Refusal } from '../../shared/wire/operation.ts';
import { EffectSchema, OperationSchema, RefusalSchema } from '../../shared/wire/operation.ts';

const OPERATION_FIELDS = Object.keys(OperationSchema.properties);
const EFFECT_FIELDS = Object.keys(EffectSchema.properties);
const REFUSAL_FIELDS = Object.keys(RefusalSchema.properties);

export function shownEntry(entry: Operation | Refusal): Operation | Refusal {
  if ('refusalId' in entry) return only<Refusal>(entry, REFUSAL_FIELDS);
  const effects = entry.effects.map((effect) => only<Effect>(effect, EFFECT_FIELDS));
  return { ...only<Operation>(entry, OPERATION_FIELDS), effects };
}

/** In the order of the schema, as every other answer has them. */
function only<T extends object>(value: T, fields: readonly string[]): T {
  return Object.fromEntries(
    fields.flatMap((field) => {
      const member: unknown = Reflect.get(value, field);
      return member === undefined ? [] : [[field, member]];
    }),
  ) as T;
}
