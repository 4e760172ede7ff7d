/**
 * The ways in which a daemon that promises durability can lie. One is too many.
 *
 * - `lost`: it said yes, and there is no trace of it.
 * - `invented`: there is a trace of what nobody asked for.
 * - `doubled`: one key, or one effect, happened twice.
 * - `changed_id`: one key names another operation than it did before.
 * - `told_differently`: what is recorded is not what was said, or was said to be refused.
 * - `went_back`: a fencing token was accepted below one that had been accepted before.
 * - `gap`, `broken_chain`: the journal lacks an entry, or one is not what was hashed.
 */
export type LieKind =
  | 'lost'
  | 'invented'
  | 'doubled'
  | 'changed_id'
  | 'told_differently'
  | 'went_back'
  | 'gap'
  | 'broken_chain';

export type Lie = { readonly kind: LieKind; readonly about: string; readonly detail: string };

export function lie(kind: LieKind, about: string, detail: string): Lie {
  return { kind, about, detail };
}
