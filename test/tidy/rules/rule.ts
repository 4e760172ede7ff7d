import type { Finding, SourceFile } from '../source-tree.ts';

/**
 * One rule of the house, over every file at once, so that a test can hand it a house of its own.
 */
export type Rule = {
  /** Completes the sentence "the house: ...". */
  readonly title: string;
  readonly check: (files: readonly SourceFile[]) => Finding[];
};
