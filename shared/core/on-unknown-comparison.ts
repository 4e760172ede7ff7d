/** What two rules say of unknown outcomes: the less a person has to look, the looser. */
import type { OnUnknown } from './on-unknown.ts';
import type { ChangeKind } from './policy-comparison.ts';
import { formatDurationMs } from './time.ts';

type Said = {
  readonly before: string | null;
  readonly after: string | null;
  readonly effect: string;
};

export function compareOnUnknown(
  held: OnUnknown,
  given: OnUnknown,
  add: (field: string, kind: ChangeKind, said: Said) => void,
): void {
  if (held.strategy !== given.strategy) {
    const kind =
      held.strategy === 'human' ? 'looser' : given.strategy === 'human' ? 'tighter' : 'changed';
    const effect =
      given.strategy === 'human'
        ? 'a person settles what nobody knows'
        : 'another way is taken to what nobody knows';
    add('onUnknown/strategy', kind, { before: held.strategy, after: given.strategy, effect });
    return;
  }
  if (held.strategy === 'human' || given.strategy === 'human') return;
  const changed = (field: string, before: string, after: string, effect: string): void => {
    if (before !== after) add(`onUnknown/${field}`, 'changed', { before, after, effect });
  };
  if (held.attempts !== given.attempts) {
    add('onUnknown/attempts', given.attempts > held.attempts ? 'looser' : 'tighter', {
      before: String(held.attempts),
      after: String(given.attempts),
      effect: 'how often it is tried before a person is asked',
    });
  }
  const [wasMs, isMs] = [held.intervalMs, given.intervalMs].map(formatDurationMs) as [
    string,
    string,
  ];
  changed('interval', wasMs, isMs, 'it is tried after another time');
  if (held.strategy === 'probe' && given.strategy === 'probe') {
    changed('probe/url', held.url, given.url, 'somebody else is asked what happened');
    changed('probe/method', held.method, given.method, 'it is asked in another way');
    const [was, is] = [held.timeoutMs, given.timeoutMs].map(formatDurationMs) as [string, string];
    changed('probe/timeout', was, is, 'its answer is waited for another time');
  }
  if (held.strategy === 'compensate' && given.strategy === 'compensate')
    changed('compensate/action', held.action, given.action, 'something else undoes it');
}
