/** Registers of the sidecar: small values under a fencing token, written only by who has read them. */
import Type, { type Static } from 'typebox';
import { count, epoch, wallMs } from './numbers.ts';
import { ResourceSchema } from './statements.ts';

/** `<resource>:<epoch>`: whose token it is, and the token. */
export const FENCING_TOKEN_HEADER = 'holdfast-fencing-token';
export const REGISTER_VALUE_BYTES_MAX = 64 * 1024;

const closed = { additionalProperties: false } as const;

export const RegisterKeySchema = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$',
  description: 'unique for the calling app, as orders/7/checkpoint',
});

export const RegisterWriteSchema = Type.Object(
  { value: Type.Unknown({ description: 'any JSON, at most 64 KiB of it' }) },
  { ...closed, $id: 'RegisterWrite' },
);

export const RegisterSchema = Type.Object(
  {
    key: RegisterKeySchema,
    resource: ResourceSchema,
    epoch: epoch({ description: 'the fencing token under which it was written' }),
    version: count({ description: 'its ETag without the quotes; never used again' }),
    updatedAtMs: wallMs(),
    value: Type.Unknown(),
  },
  { $id: 'Register' },
);
export type Register = Static<typeof RegisterSchema>;

export const RegisterSummarySchema = Type.Object(
  { ...Type.Omit(RegisterSchema, ['value']).properties, valueBytes: count() },
  { $id: 'RegisterSummary' },
);
export type RegisterSummary = Static<typeof RegisterSummarySchema>;

export const RegistersQuerySchema = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })),
    cursor: Type.Optional(Type.String({ maxLength: 200, description: 'the last key before it' })),
  },
  closed,
);

export type FencingToken = { readonly resource: string; readonly epoch: number };

export function fencingTokenText({ resource, epoch: token }: FencingToken): string {
  return `${resource}:${token}`;
}

/** `null` where it is none. */
export function parseFencingToken(text: string): FencingToken | null {
  const found = /^([A-Za-z0-9][A-Za-z0-9._/-]{0,199}):([1-9][0-9]{0,15})$/.exec(text);
  if (found === null) return null;
  const [, resource = '', digits = ''] = found;
  const token = Number(digits);
  return Number.isSafeInteger(token) ? { resource, epoch: token } : null;
}
