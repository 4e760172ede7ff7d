/**
 * A number in (0, 1) for each pair of names, the same everywhere and for ever: placement must not
 * change with the program. Each name is hashed once (FNV-1a, two lanes), and each pair mixed from
 * those (the finalizer of MurmurHash3), because there are as many pairs as shards times hosts. It
 * protects against nothing; who chooses names chooses places.
 */
export type Lanes = { readonly a: number; readonly b: number };

const FNV_PRIME = 0x01000193;
const LANE_A = 0x811c9dc5;
const LANE_B = 0x9e3779b9;

export function lanesOf(name: string): Lanes {
  let a = LANE_A;
  let b = LANE_B;
  for (let at = 0; at < name.length; at += 1) {
    const unit = name.charCodeAt(at);
    a = Math.imul(a ^ unit, FNV_PRIME);
    b = Math.imul(b ^ (unit + at), FNV_PRIME);
  }
  return { a: mixed(a), b: mixed(b) };
}

const TWO_POW_53 = 2 ** 53;

export function unitOf(left: Lanes, right: Lanes): number {
  const high = mixed(Math.imul(left.a, 0x85ebca6b) ^ right.b) >>> 0;
  const low = mixed(Math.imul(left.b, 0xc2b2ae35) ^ right.a ^ high) >>> 0;
  // 32 bits and 21 more; a half keeps it off 0.
  return (high * 2 ** 21 + (low >>> 11) + 0.5) / TWO_POW_53;
}

function mixed(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
