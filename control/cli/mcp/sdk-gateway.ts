/** The gateway in its process: the upstream, and its clients over stdio. */
import { randomText, type Random } from '../../../shared/platform/random.ts';
import { Gateway, type GatewayParts } from './gateway.ts';
import { buildServer, serveStdio } from './sdk-server.ts';
import { SdkUpstream, type UpstreamTarget } from './sdk-upstream.ts';

/** Within the time that a host leaves between its asking and its killing, mostly. */
const STOP_BOUND_MS = 10_000;
const SESSION_KEY_BYTES = 16;

export type ServeParts = {
  readonly options: {
    readonly scope: string | null;
    readonly callTimeoutMs: number;
    readonly messageBytesMax: number;
  };
  readonly target: UpstreamTarget;
  readonly gateway: Omit<GatewayParts, 'upstream'>;
  readonly random: Random;
  /** Aborted when the process is asked to stop. */
  readonly stop: AbortSignal;
};

/** Until its client goes or it is asked to stop. */
export async function serveGateway(parts: ServeParts): Promise<void> {
  const { options, target, random, stop } = parts;
  const { clock } = parts.gateway;
  const sessions = new Set<{ toolsChanged(): void }>();
  const upstream = new SdkUpstream({
    target,
    callTimeoutMs: options.callTimeoutMs,
    onToolsChanged: () => {
      for (const session of sessions) session.toolsChanged();
    },
  });
  const gateway = new Gateway({ ...parts.gateway, upstream });
  try {
    const sessionKey = randomText(random, SESSION_KEY_BYTES);
    const scope = options.scope ?? `session-${sessionKey}`;
    const mcp = buildServer({ gateway, scope, sessionKey });
    sessions.add({ toolsChanged: () => mcp.sendToolListChanged() });
    await serveStdio(mcp, { messageBytesMax: options.messageBytesMax, stop });
    // W3: what was begun is recorded, as far as the time goes.
    await Promise.race([gateway.idle(), clock.sleep(STOP_BOUND_MS)]);
    await mcp.close();
  } finally {
    await upstream.close();
  }
}
