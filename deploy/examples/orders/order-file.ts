/**
 * The orders that the demo works through: one JSON object a line, as a shop might export them, with
 * what real files have in them: lines twice, lines cut short, amounts beyond the limit, the same
 * order with another amount.
 */

export type Order = {
  readonly order: string;
  readonly kind: 'capture' | 'refund';
  readonly shard: string;
  readonly amount: number;
  readonly customer: string;
};

export type OrderLine =
  | { readonly line: number; readonly ok: true; readonly order: Order }
  | { readonly line: number; readonly ok: false; readonly problem: string };

export function parseOrders(text: string): OrderLine[] {
  return text
    .split('\n')
    .map((content, index) => ({ content, line: index + 1 }))
    .filter(({ content }) => content.trim() !== '')
    .map(({ content, line }) => parseOrder(content, line));
}

function parseOrder(content: string, line: number): OrderLine {
  const bad = (problem: string): OrderLine => ({ line, ok: false, problem });
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch (error) {
    return bad(error instanceof Error ? error.message : String(error));
  }
  if (typeof value !== 'object' || value === null) return bad('not an object');
  const { order, kind, shard, amount, customer } = value as Record<string, unknown>;
  if (typeof order !== 'string' || !/^o-\d{6}$/.test(order))
    return bad('order is not of the form o-000000');
  if (kind !== 'capture' && kind !== 'refund') return bad('kind is neither capture nor refund');
  if (typeof shard !== 'string' || !/^s\d$/.test(shard)) return bad('shard is not of the form s0');
  if (typeof amount !== 'number') return bad('amount is not a number');
  if (typeof customer !== 'string') return bad('customer is missing');
  return { line, ok: true, order: { order, kind, shard, amount, customer } };
}

/** A file of at least `lines` lines; the same seed makes the same file. */
export function makeOrders(seed: number, lines: number): string {
  const random = seededRandom(seed);
  const pick = (below: number): number => Math.floor(random() * below);
  const made: string[] = [];
  for (let number = 1; made.length < lines; number += 1) {
    const kind = random() < 0.06 ? 'refund' : 'capture';
    const amount =
      kind === 'refund'
        ? 1 + pick(49)
        : random() < 0.05
          ? 501 + pick(5_000)
          : (1 + pick(50_000)) / 100;
    const order: Order = {
      order: `o-${String(number).padStart(6, '0')}`,
      kind,
      shard: `s${pick(8)}`,
      amount,
      customer: `c-${pick(400)}`,
    };
    const text = JSON.stringify(order);
    made.push(text);
    const fate = random();
    if (fate < 0.04) made.splice(made.length - pick(Math.min(40, made.length)), 0, text);
    else if (fate < 0.045) made.push(JSON.stringify({ ...order, amount: amount + 1 }));
    else if (fate < 0.06) made.push(text.slice(0, 5 + pick(text.length - 10)));
    else if (fate < 0.065) made.push(JSON.stringify({ ...order, amount: 'a lot' }));
  }
  return `${made.join('\n')}\n`;
}

/** Mulberry32: small, and the same on every machine. In [0, 1). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
