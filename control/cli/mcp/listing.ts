/** Tools as they are listed: as the server has them, with what policy asks of each now. */
import { UnreachableError, ProblemError } from '../../../shared/client/index.ts';
import type { DecisionAnswer, SidecarClient } from '../../../shared/client/index.ts';
import { actionOf } from './call-plan.ts';
import { RESULT_TOOL } from './told.ts';
import { ruleFor, type ToolMap } from './tool-map.ts';
import type { Upstream, UpstreamTool } from './upstream-port.ts';

const NEEDS_META = 'holdfast/needs';
const ASKED_AT_ONCE = 8;

/** `conditional`: it is refused without arguments, and may be otherwise with them. */
export type Needs = {
  readonly outcome: 'admitted' | 'awaiting_approval' | 'conditional' | 'not_known';
  readonly code: string | null;
  readonly rule: string | null;
  readonly freshness: string | null;
  readonly approval: { readonly required: number; readonly role: string } | null;
  readonly policyRevision: number | null;
};
export type ListedTool = UpstreamTool & { readonly _meta: Readonly<Record<string, unknown>> };

type Parts = {
  readonly sidecar: Pick<SidecarClient, 'decide'>;
  readonly upstream: Upstream;
  readonly server: string;
  readonly principal: string;
  readonly map: ToolMap;
};

/** A tool without an action, or of the name of the gateway's own, is not served. */
export async function previewTools(parts: Parts): Promise<readonly ListedTool[]> {
  const waiting = (await parts.upstream.tools())
    .filter(({ name }) => name !== RESULT_TOOL)
    .flatMap((tool) => {
      const action = actionOf(parts.server, tool.name, ruleFor(parts.map, tool.name));
      return action === null ? [] : [{ tool, action }];
    });
  const listed: ListedTool[] = [];
  const places = waiting.entries();
  const ask = async (): Promise<void> => {
    for (const [at, { tool, action }] of places) {
      const needs = await needsOf(action, tool.name, parts);
      listed[at] = {
        ...tool,
        description: `${tool.description ?? ''}\n\n[Holdfast: ${needsText(needs)}]`.trim(),
        _meta: { ...(tool['_meta'] as object | undefined), [NEEDS_META]: needs },
      };
    }
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, ask));
  return listed;
}

async function needsOf(action: string, tool: string, parts: Parts): Promise<Needs> {
  const resource = { id: `mcp/${parts.server}/${tool}` };
  try {
    return readNeeds(
      await parts.sidecar.decide({ principal: parts.principal, action, resource, attributes: {} }),
    );
  } catch (error) {
    if (!(error instanceof UnreachableError || error instanceof ProblemError)) throw error;
    const code = error instanceof ProblemError ? error.code : 'sidecar_unreachable';
    return { ...NOTHING_KNOWN, code };
  }
}

const NOTHING_KNOWN: Needs = {
  outcome: 'not_known',
  code: null,
  rule: null,
  freshness: null,
  approval: null,
  policyRevision: null,
};

/** Pure. */
export function readNeeds({ admission, rule, terms, policyRevision }: DecisionAnswer): Needs {
  const { freshness = null, approval = null } = (terms ?? {}) as {
    freshness?: string | null;
    approval?: { required: number; role: string } | null;
  };
  const asked = approval === null ? null : { required: approval.required, role: approval.role };
  const outcome = admission.outcome === 'refused' ? 'conditional' : admission.outcome;
  return { outcome, code: admission.code, rule, freshness, approval: asked, policyRevision };
}

/** Pure. */
export function needsText({ outcome, code, approval, freshness }: Needs): string {
  const fresh = freshness === 'fresh' ? '; it needs control to be in reach' : '';
  switch (outcome) {
    case 'admitted':
      return `calls are recorded, and the same call is done once${fresh}`;
    case 'awaiting_approval': {
      const by = approval === null ? '' : ` of ${approval.required} from ${approval.role}`;
      return `needs an approval${by} before it is done${fresh}; pending calls are asked for with ${RESULT_TOOL}`;
    }
    case 'conditional':
      return `refused by policy as far as can be told without arguments (${code})${fresh}`;
    case 'not_known':
      return `what policy says of it cannot be told now (${code})`;
  }
}
