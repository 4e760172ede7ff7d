/** The calls of a history (`history.ts`): what is asked for, and how it ends. */
import type { ClaimAnswer } from '../../shared/wire/claim-api.ts';
import type { ConfigValue } from '../../shared/wire/config-value.ts';
import type { PublishAnswer } from '../../shared/wire/control-api.ts';
import type { AdmitRequest, Operation } from '../../shared/wire/operation.ts';
import type { PolicyDocument } from '../../shared/wire/policy-document.ts';
import type { Register } from '../../shared/wire/register-api.ts';
import type {
  Attempt,
  EffectAnswer,
  Fence,
  HeldLeaseView,
  Heartbeat,
  SidecarStatus,
} from '../../shared/wire/sidecar-api.ts';
import type { NodeName } from './history.ts';

/** What a call asks for, by whom it was sent to whom. Bodies are what goes over the wire. */
export type CallRequest =
  /** Of apps to the sidecar of their host. */
  | { readonly kind: 'admit'; readonly key: string; readonly body: AdmitRequest }
  | {
      readonly kind: 'start_attempt';
      readonly operationId: string;
      /** The same one when it is asked again. */
      readonly key: string | null;
      readonly supersede: boolean;
    }
  | {
      readonly kind: 'heartbeat';
      readonly operationId: string;
      readonly attempt: number;
      /** Where there is one it is to be durable before the answer. */
      readonly checkpoint?: unknown;
    }
  | {
      readonly kind: 'begin_effect';
      readonly operationId: string;
      readonly attempt: number;
      readonly effect: string;
      readonly key: string | null;
    }
  | {
      readonly kind: 'settle_effect';
      readonly operationId: string;
      readonly attempt: number;
      readonly effect: string;
      readonly outcome: 'succeeded' | 'failed' | 'unknown';
      readonly result: unknown;
    }
  | {
      readonly kind: 'report_outcome';
      readonly operationId: string;
      readonly attempt: number;
      readonly outcome: 'succeeded' | 'failed' | 'unknown';
      readonly result: unknown;
    }
  | { readonly kind: 'cancel'; readonly operationId: string }
  | {
      readonly kind: 'claim';
      readonly key: string;
      readonly actions: readonly string[];
      readonly limit: number;
    }
  | { readonly kind: 'operation'; readonly operationId: string }
  | { readonly kind: 'config_value'; readonly name: string }
  | { readonly kind: 'held_leases' }
  | { readonly kind: 'acquire_lease'; readonly resource: string }
  | { readonly kind: 'release_lease'; readonly resource: string }
  | { readonly kind: 'check_fence'; readonly resource: string; readonly epoch: number }
  | {
      readonly kind: 'put_register';
      readonly register: string;
      readonly resource: string;
      readonly epoch: number;
      /** The version it replaces; `null`: there is to be none. */
      readonly replaces: number | null;
      readonly value: unknown;
    }
  | { readonly kind: 'register'; readonly register: string }
  | { readonly kind: 'status' }
  | { readonly kind: 'unknown_operations' }
  /** Of a person at the sidecar, on what is unknown. */
  | {
      readonly kind: 'resolve';
      readonly operationId: string;
      readonly outcome: 'succeeded' | 'failed';
      readonly provenance: 'verified' | 'asserted' | 'assumed';
    }
  /** Of operators to control. */
  | {
      readonly kind: 'publish_policy';
      readonly replaces: number | null;
      readonly document: PolicyDocument;
    }
  | { readonly kind: 'roll_back_policy'; readonly replaces: number | null; readonly to: number }
  | { readonly kind: 'order_rollout'; readonly order: 'promote' | 'halt' | 'resume' }
  | {
      readonly kind: 'approve';
      readonly requestId: string;
      readonly verb: 'approve' | 'deny' | 'withdraw';
      /** Of the payload that was looked at. */
      readonly digest: string;
    }
  | { readonly kind: 'transfer_lease'; readonly resource: string; readonly toHost: string }
  | { readonly kind: 'revoke_lease'; readonly resource: string }
  | {
      readonly kind: 'drain_host';
      readonly host: NodeName;
      readonly hostId: string;
      readonly on: boolean;
    }
  | { readonly kind: 'put_placement'; readonly group: string }
  | { readonly kind: 'add_operator'; readonly name: string; readonly roles: readonly string[] }
  | { readonly kind: 'create_join_token'; readonly host: NodeName }
  | { readonly kind: 'read_control'; readonly path: string };
export type CallKind = CallRequest['kind'];

/** The body of an `ok`, by kind of call; of others it is `unknown`. */
export type CallBodies = {
  readonly admit: Operation;
  readonly start_attempt: Attempt;
  readonly heartbeat: Heartbeat;
  readonly begin_effect: EffectAnswer;
  readonly settle_effect: EffectAnswer;
  readonly report_outcome: Operation;
  readonly cancel: Operation;
  readonly claim: ClaimAnswer;
  readonly operation: Operation;
  readonly resolve: Operation;
  readonly config_value: ConfigValue;
  readonly held_leases: { readonly items: readonly HeldLeaseView[] };
  readonly acquire_lease: HeldLeaseView;
  readonly release_lease: HeldLeaseView;
  readonly check_fence: Fence;
  readonly put_register: Register;
  readonly register: Register;
  readonly status: SidecarStatus;
  readonly publish_policy: PublishAnswer;
};
export type BodyOf<K extends CallKind> = K extends keyof CallBodies ? CallBodies[K] : unknown;

export type CallEnd =
  /** A 2xx answer. An admission is 201 (new), 200 (the same key again) or 202 (waits for approval). */
  | { readonly kind: 'ok'; readonly status: number; readonly body: unknown }
  /** A problem document, and it says what did not happen: `code` is of the one table of errors. */
  | {
      readonly kind: 'refused';
      readonly status: number;
      readonly code: string;
      readonly detail: string;
      readonly problem: Readonly<Record<string, unknown>>;
    }
  /** H3. `code` is `outcome_unknown` where a daemon says so itself. */
  | {
      readonly kind: 'info';
      readonly why: 'timeout' | 'cut' | 'crash' | 'outcome_unknown' | 'bad_answer' | 'run_over';
      readonly detail: string;
    };
