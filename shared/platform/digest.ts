import { hash, timingSafeEqual } from 'node:crypto';
import { canonicalJson } from '../core/canonical-json.ts';

export function sha256Hex(data: string | Uint8Array): string {
  return hash('sha256', data, 'hex');
}

/** SHA-256 of the canonical JSON (RFC 8785) of a value, hex: the digest of what it means. */
export function digestOf(value: unknown): string {
  return sha256Hex(canonicalJson(value));
}

/**
 * Hash of one entry of a chain (journal, audit trail): over the one before it and its own canonical
 * JSON.
 */
export function chainHash(previousHash: string, entry: unknown): string {
  return sha256Hex(`${previousHash}\n${canonicalJson(entry)}`);
}

/** Compares two hex digests in constant time. */
export function equalDigests(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
