import { hash } from 'node:crypto';

/** One entry of a host's journal, with its body as the text that is stored and sent. */
export type HashedEntry = {
  readonly seq: number;
  readonly atMs: number;
  readonly kind: string;
  readonly operationId: string | null;
  readonly outageId: string | null;
  readonly bodyText: string;
};

/**
 * SHA-256, hex, of an entry and of the hash before it. Over the text as it stands: making a
 * canonical form of each body cost more than everything else that the writer does. A body that was
 * read and written again by `JSON` has the same text, so control can check what it was sent.
 */
export function entryHash(previousHash: string, entry: HashedEntry): string {
  const { seq, atMs, kind, operationId, outageId, bodyText } = entry;
  return hash(
    'sha256',
    `${previousHash}\n${seq}\n${atMs}\n${kind}\n${operationId ?? ''}\n${outageId ?? ''}\n${bodyText}`,
  );
}

/** The same of an entry whose body was read already: one that this program wrote, or was sent. */
export function eventHash(
  previousHash: string,
  { body, ...entry }: Omit<HashedEntry, 'bodyText'> & { readonly body: unknown },
): string {
  return entryHash(previousHash, { ...entry, bodyText: JSON.stringify(body) });
}
