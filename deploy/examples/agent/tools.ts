/** The tools of the agent: plain functions that call the desk, each guarded by the client. */
import {
  EffectFailedError,
  holdfastTool,
  type Holdfast,
  type ToolOutcome,
} from '../../../shared/client/holdfast-node.ts';
import type { ProposedCall } from './turn-file.ts';

export type Receipt = { readonly receipt: string };
export const PRINCIPAL = 'agent:desk';
/** As the rules declare it. */
export const EFFECT = 'call';
export const actionOf = (tool: string): string => `desk.${tool}`;

export type ToolBox = (call: ProposedCall) => Promise<ToolOutcome<Receipt>>;

export function toolBox(
  holdfast: Holdfast,
  { deskUrl, conversation }: { readonly deskUrl: string; readonly conversation: string },
): ToolBox {
  const guarded = (tool: string) =>
    holdfastTool(holdfast, {
      principal: PRINCIPAL,
      action: actionOf(tool),
      effect: EFFECT,
      describe: (args: ProposedCall['args']) => ({
        resource: { id: `desk/${tool}` },
        attributes: { ...args, conversation },
      }),
      execute: (args, { idempotencyKey }): Promise<Receipt> =>
        callDesk(`${deskUrl}/tools/${tool}`, args, { idempotencyKey, conversation }),
    });
  return ({ tool, args }) => guarded(tool)(args, { scope: conversation });
}

/** Throws `EffectFailedError` where the desk says that it did nothing; all other silence is silence. */
async function callDesk(
  url: string,
  args: ProposedCall['args'],
  { idempotencyKey, conversation }: { idempotencyKey: string; conversation: string },
): Promise<Receipt> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'idempotency-key': idempotencyKey, conversation },
    body: JSON.stringify(args),
  });
  const { receipt, error } = (await answer.json()) as { receipt?: string; error?: string };
  if (answer.status === 422) throw new EffectFailedError(error ?? 'refused');
  if (receipt === undefined) throw new Error(`the desk answered ${answer.status}: ${error}`);
  return { receipt };
}
