/**
 * RFC 9457 problem details, and the one table of error codes of both daemons. A code is API: it is
 * never reused for another meaning. `shared/DESIGN.md` prints this table; a test holds the two
 * together.
 */
import Type, { type Static } from 'typebox';
import { LimitStateSchema } from './limits.ts';
import { count } from './numbers.ts';

type ErrorRow = { readonly status: number; readonly title: string; readonly retryable: boolean };

const row = (status: number, title: string, retryable = false): ErrorRow => ({
  status,
  title,
  retryable,
});

export const ERRORS = {
  // What is wrong with the request itself.
  invalid_json: row(400, 'The body is not valid JSON'),
  invalid_yaml: row(400, 'The body is not valid YAML'),
  invalid_request: row(400, 'The request does not fit its schema'),
  idempotency_key_missing: row(400, 'The Idempotency-Key header is required here'),
  idempotency_key_invalid: row(400, 'The Idempotency-Key header is malformed'),
  deadline_too_long: row(400, 'The deadline is beyond what the rule allows'),
  not_found: row(404, 'There is no such resource'),
  method_not_allowed: row(405, 'That method is not served here'),
  body_too_large: row(413, 'The body is over the size bound'),
  unsupported_media_type: row(415, 'That content type is not accepted here'),
  request_timeout: row(408, 'The request did not come whole in time', true),
  expectation_failed: row(417, 'The Expect header asks for what is not done'),
  headers_too_large: row(431, 'The headers are over the size bound'),
  operation_not_found: row(404, 'There is no such operation'),
  attempt_not_found: row(404, 'That attempt was never started'),
  effect_not_found: row(404, 'That effect was never begun'),
  effect_undeclared: row(422, 'The rule of this operation does not declare that effect'),
  idempotency_key_reused: row(422, 'The Idempotency-Key was used with another payload'),

  // Who is calling, and from where.
  unauthenticated: row(401, 'Credentials are missing or not known'),
  forbidden: row(403, 'The caller may not do this'),
  principal_not_allowed: row(403, 'The calling app may not speak for this principal'),
  foreign_host: row(403, 'The Host header is not one that this daemon answers to'),
  browser_request: row(403, 'Requests from browser pages are refused'),
  forwarded_request: row(403, 'Forwarded requests are refused'),
  request_header_missing: row(403, 'The Holdfast-Request header is required on TCP'),

  // What policy and authority say.
  principal_revoked: row(403, 'A notice revokes the principal'),
  credential_revoked: row(403, 'A notice revokes the credential of the app or of the host'),
  action_killed: row(403, 'A notice has stopped the action'),
  resource_held: row(403, 'A notice holds the resource'),
  notices_unknown: row(503, 'The notices kept here are damaged; control must be reached', true),
  unknown_principal: row(403, 'The principal is not in the policy'),
  no_rule: row(403, 'No rule of the policy matches'),
  rule_error: row(403, 'An expression of the rule failed'),
  denied: row(403, 'The rule refuses this operation'),
  policy_absent: row(503, 'No policy has been received yet', true),
  policy_expired: row(503, 'Cached authority is older than the rule allows', true),
  control_unreachable: row(503, 'Fresh authority is required and control cannot be reached', true),
  control_rejected: row(503, 'Fresh authority is required and control refused to give it'),
  allotment_absent: row(503, 'This host holds no part of a budget of the fleet', true),
  quota_exhausted: row(429, 'The quota of this window is used', true),
  concurrency_limited: row(429, 'As many operations as the rule allows have not ended', true),
  rate_limited: row(429, 'More requests than the rate of the rule allows', true),
  lease_absent: row(503, 'This host does not hold the lease of the resource', true),
  lease_expired: row(503, 'The lease of the resource has ended on this host', true),
  lease_draining: row(503, 'The lease of the resource is being handed over', true),
  approval_required: row(403, 'The rule asks for an approval, which cannot be given here'),
  recheck_refused: row(403, 'Control was asked again before the effect, and refuses it'),
  config_not_found: row(404, 'The policy in force has no such config value'),
  config_expired: row(503, 'The config value is older than its policy allows', true),

  // The life of an accepted operation.
  attempt_in_progress: row(409, 'Another attempt is executing', true),
  attempt_stale: row(409, 'A newer attempt has taken over'),
  operation_settled: row(409, 'The operation has ended'),
  operation_awaiting_approval: row(409, 'The operation waits for an approval', true),
  operation_paused: row(409, 'The operation is paused until control is back', true),
  operation_not_executing: row(409, 'The operation is not executing'),
  operation_not_unknown: row(409, 'Only an operation whose outcome is unknown can be resolved'),
  reconciliation_claimed: row(409, 'Somebody else works on this operation', true),
  probe_undeclared: row(409, 'The rule of this operation declares no probe'),
  probe_not_allowed: row(403, 'This sidecar may not ask that address what happened'),
  operation_not_paused: row(409, 'Only a paused operation can be released'),
  resume_refused: row(409, 'The policy in force does not let the paused operation go on'),
  lease_lost: row(409, 'The lease under which the attempt ran is gone'),
  effect_in_progress: row(409, 'The effect has been begun and not reported', true),
  effect_unknown: row(409, 'An earlier attempt began the effect and its outcome is not known'),
  effect_settled: row(409, 'The effect has another recorded outcome'),
  deadline_passed: row(410, 'The deadline of the operation has passed'),
  stale_owner: row(412, 'The fencing token is lower than the highest one seen'),
  fencing_token_required: row(428, 'A fencing token is required here'),
  resource_unknown: row(422, 'This host has never held or seen the resource'),
  register_not_found: row(404, 'There is no such register'),
  register_changed: row(412, 'The register was changed by somebody else'),
  register_resource_fixed: row(409, 'The register is guarded by another resource'),
  registers_full: row(507, 'This host keeps as many registers as it may'),

  // The journal and the daemon.
  journal_busy: row(503, 'Too many writes wait for the disk, or for too long', true),
  outcome_unknown: row(
    503,
    'The commit failed and its outcome is not known; ask again with the same key',
    true,
  ),
  journal_quarantined: row(
    503,
    'The journal is damaged, not the one remembered, or read-only; a person must act',
  ),
  journal_full: row(507, 'The journal has no room for new operations', true),
  overloaded: row(503, 'The daemon serves as many as it can', true),
  shutting_down: row(503, 'The daemon is stopping', true),
  internal: row(500, 'The daemon failed'),

  // Control.
  precondition_required: row(428, 'If-Match is required: read the current revision first'),
  recovering: row(503, 'What was given before a restored copy is not known yet', true),
  notices_full: row(409, 'As many notices are in force as hosts may be given'),
  divergence_settled: row(409, 'The divergence was settled otherwise'),
  revision_conflict: row(412, 'The policy was changed by somebody else'),
  policy_invalid: row(422, 'The policy does not validate'),
  rollout_in_progress: row(409, 'Another revision is being rolled out'),
  rollout_ended: row(409, 'The roll-out does not take that step any more'),
  proposal_settled: row(409, 'The proposal has been decided'),
  approval_settled: row(409, 'The request for an approval is over'),
  approval_changed: row(412, 'The digest named is not that of the operation'),
  approval_voted: row(409, 'The same person has decided otherwise about it before'),
  self_approval: row(403, 'Nobody approves what is done in their own name'),
  operator_exists: row(409, 'There is an operator of that name'),
  last_admin: row(409, 'The last admin cannot be removed'),
  handover_in_progress: row(409, 'The lease is being handed over already', true),
  handover_absent: row(409, 'There is nothing to hand over or to call off'),
  host_unavailable: row(409, 'The host is not in contact, or takes nothing new', true),
  group_conflict: row(412, 'The placement group was changed by somebody else'),
  group_overlap: row(409, 'Another placement group places the same resource'),
  join_token_invalid: row(401, 'The join token is not known'),
  join_token_used: row(401, 'The join token was used by another host'),
  join_token_expired: row(401, 'The join token has expired'),
  host_unknown: row(401, 'The host is not enrolled'),
  host_signature_invalid: row(401, 'The signature of the host does not verify'),
  host_epoch_stale: row(409, 'The host was enrolled again since'),
  report_gap: row(409, 'The report does not follow the last one acknowledged', true),
  report_conflict: row(409, 'The report contradicts one that was acknowledged'),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERRORS, code);

export const ProblemSchema = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.String({ description: 'names the value and the way out' }),
    code: Type.String(),
    retryable: Type.Boolean(),
    retry_after_ms: Type.Optional(count()),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          path: Type.String({ description: 'JSON Pointer, or header:<name>, query:<name>' }),
          message: Type.String(),
        }),
      ),
    ),
    operationId: Type.Optional(Type.String()),
    refusalId: Type.Optional(Type.String()),
    policyRevision: Type.Optional(Type.Union([count(), Type.Null()])),
    rule: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    basis: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    stalenessMs: Type.Optional(Type.Union([count(), Type.Null()])),
    leaseEpoch: Type.Optional(Type.Union([count(), Type.Null()])),
    outageId: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    limit: Type.Optional(LimitStateSchema),
  },
  { $id: 'Problem', description: 'RFC 9457 problem details' },
);

export type Problem = Static<typeof ProblemSchema>;
type ProblemExtras = Partial<
  Omit<Problem, 'type' | 'title' | 'status' | 'detail' | 'code' | 'retryable'>
>;

/**
 * An operating failure with a code of the table; `http/` turns it into a problem document, nobody
 * else does.
 */
export class HoldfastError extends Error {
  override name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly extras: ProblemExtras;

  constructor(
    code: ErrorCode,
    detail: string,
    extras: ProblemExtras & { readonly cause?: unknown } = {},
  ) {
    const { cause, ...rest } = extras;
    super(detail, cause === undefined ? undefined : { cause });
    this.code = code;
    this.extras = rest;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }
}

export const PROBLEM_CONTENT_TYPE = 'application/problem+json; charset=utf-8';

export function toProblem(error: HoldfastError): Problem {
  const { status, title, retryable } = ERRORS[error.code];
  return {
    type: `urn:holdfast:problem:${error.code}`,
    title,
    status,
    detail: error.message,
    code: error.code,
    retryable,
    ...error.extras,
  };
}
