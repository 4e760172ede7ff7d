/** The gateway in its process: one upstream, and its clients over stdio or HTTP. */
import type { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { randomText, type Random } from '../../../shared/platform/random.ts';
import { Gateway, type GatewayParts } from './gateway.ts';
import { requestRefusal, type GuardSettings } from './http-guard.ts';
import { serveHttp } from './sdk-http.ts';
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
  /** `null`: one client, over stdio. */
  readonly http:
    | (GuardSettings & { readonly listen: { readonly host: string; readonly port: number } })
    | null;
  readonly onListening: (url: string) => void;
  readonly onFault: (error: unknown) => void;
  readonly random: Random;
  /** Aborted when the process is asked to stop. */
  readonly stop: AbortSignal;
};

/** Until its client goes or it is asked to stop. */
export async function serveGateway(parts: ServeParts): Promise<void> {
  const { options, target, http, random, stop, onListening, onFault } = parts;
  const { messageBytesMax } = options;
  const { clock } = parts.gateway;
  const upstream = new SdkUpstream({
    target,
    callTimeoutMs: options.callTimeoutMs,
    onToolsChanged: () => front?.toolsChanged(),
  });
  const gateway = new Gateway({ ...parts.gateway, upstream });
  const openServer = (): McpServer => {
    const sessionKey = randomText(random, SESSION_KEY_BYTES);
    return buildServer({ gateway, sessionKey, scope: options.scope ?? `session-${sessionKey}` });
  };
  let front: Awaited<ReturnType<typeof serveStdio>> | null = null;
  try {
    front =
      http === null
        ? await serveStdio(openServer(), { messageBytesMax, stop })
        : await serveHttp({
            listen: http.listen,
            refusal: (head) => requestRefusal(head, http),
            messageBytesMax,
            openServer,
            clock,
            random,
            onListening,
            onFault,
            stop,
          });
    await front.ended;
    // W3: what was begun is recorded, as far as the time goes.
    const bound = new AbortController();
    await Promise.race([gateway.idle(), clock.sleep(STOP_BOUND_MS, bound.signal)]);
    bound.abort();
    await front.close();
  } finally {
    await upstream.close();
  }
}
