import type { CompiledPolicy } from '../../shared/core/policy.ts';
import type { WallMs } from '../../shared/core/time.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';

/** A revision in force on this host. */
export type ActivePolicy = {
  readonly policyRevision: number;
  readonly policyDigest: string;
  readonly activatedAtMs: WallMs;
  readonly document: PolicyDocument;
  readonly compiled: CompiledPolicy;
};
