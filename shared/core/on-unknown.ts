/**
 * What a rule says of work whose outcome nobody knows: who finds out, how often, and when it is left
 * to a person. Written into the operation at its admission.
 */
import type { PolicyRule } from '../wire/policy-document.ts';
import { SECOND_MS, parseDurationMs } from './time.ts';

/** How often, and how far apart: before the first try too, since what was begun may still be under way. */
export type TryTerms = { readonly attempts: number; readonly intervalMs: number };

export type ProbeTerms = TryTerms & {
  readonly strategy: 'probe';
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly timeoutMs: number;
};
export type RetryTerms = TryTerms & { readonly strategy: 'retry' };
export type CompensateTerms = TryTerms & {
  readonly strategy: 'compensate';
  readonly action: string;
};
export type OnUnknown = { readonly strategy: 'human' } | ProbeTerms | RetryTerms | CompensateTerms;

export const LEFT_TO_A_PERSON: OnUnknown = { strategy: 'human' };

export const ON_UNKNOWN_DEFAULTS = {
  intervalMs: 30 * SECOND_MS,
  attempts: 5,
  timeoutMs: 5 * SECOND_MS,
  method: 'POST',
} as const;

const durationOr = (text: string | undefined, standardMs: number): number =>
  (text === undefined ? null : parseDurationMs(text)) ?? standardMs;

/** What a section leaves out that its strategy needs is a problem of the document, found by its lints. */
export function onUnknownTerms(said: PolicyRule['onUnknown']): OnUnknown {
  if (said === undefined || said.strategy === 'human') return LEFT_TO_A_PERSON;
  const tries: TryTerms = {
    attempts: said.attempts ?? ON_UNKNOWN_DEFAULTS.attempts,
    intervalMs: durationOr(said.interval, ON_UNKNOWN_DEFAULTS.intervalMs),
  };
  switch (said.strategy) {
    case 'retry':
      return { strategy: 'retry', ...tries };
    case 'compensate':
      return { strategy: 'compensate', action: said.compensate?.action ?? '', ...tries };
    case 'probe':
      return {
        strategy: 'probe',
        url: said.probe?.url ?? '',
        method: said.probe?.method ?? ON_UNKNOWN_DEFAULTS.method,
        timeoutMs: durationOr(said.probe?.timeout, ON_UNKNOWN_DEFAULTS.timeoutMs),
        ...tries,
      };
  }
}
