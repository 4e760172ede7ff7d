/** The port to the MCP server that the gateway fronts. */
import type { ToolAnswer } from './tool-answer.ts';

export type UpstreamTool = {
  readonly name: string;
  readonly description?: string | undefined;
  /** All else that it says of itself: schemas, annotations, title. */
  readonly [field: string]: unknown;
};

export type Progress = {
  readonly progress: number;
  readonly total?: number | undefined;
  readonly message?: string | undefined;
};

export type UpstreamCall = {
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  /** Sent along, for a server that knows repetitions. */
  readonly idempotencyKey: string;
  /** Where the rule asks for a lease, for a server that compares. */
  readonly fencingToken: { readonly resource: string; readonly epoch: number } | null;
  readonly signal: AbortSignal;
  readonly onProgress: ((progress: Progress) => void) | null;
};

export interface Upstream {
  /** As it answers now, connected anew where it was lost; the reason where it does not. */
  reach(): Promise<{ readonly ok: true } | { readonly ok: false; readonly detail: string }>;
  tools(): Promise<readonly UpstreamTool[]>;
  /**
   * Once. Throws `NotDoneError` where the server has said, or it is certain, that nothing was done;
   * whatever else it throws leaves that open.
   */
  call(call: UpstreamCall): Promise<ToolAnswer>;
  close(): Promise<void>;
}

export class NotDoneError extends Error {
  override name = 'NotDoneError';
}
