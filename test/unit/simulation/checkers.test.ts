import { test } from 'vitest';
import { CHECKERS } from '../../simulation/checkers/index.ts';
import type { Promised } from '../../simulation/history.ts';
import { expectLawful } from './lawful-story.ts';

test.for(Object.entries(CHECKERS))(
  'a lawful history: %s finds nothing, and has looked at something',
  ([, check]: [string, (typeof CHECKERS)[Promised]]) => expectLawful(check),
);
