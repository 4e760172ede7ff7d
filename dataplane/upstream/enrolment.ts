/**
 * The first word with control: a join token against a host id. Control out of reach is waited for,
 * with back-off and a line in the log for each try; a token that control refuses ends the start,
 * because no waiting mends it.
 */
import { backoffWithFloorMs } from '../core/sync-state.ts';
import type { Clock } from '../../shared/platform/clock.ts';
import type { Logger } from '../../shared/platform/logger.ts';
import type { Random } from '../../shared/platform/random.ts';
import { StartError } from '../../shared/platform/shutdown.ts';
import type { HostIdentity } from '../authority/identity.ts';
import type { ControlLink } from './control-link.ts';
import { parseJoinToken, type JoinToken } from './join-token.ts';

const RETRY_MS_MAX = 30_000;

export type EnrolmentOptions = {
  readonly identity: HostIdentity;
  readonly link: ControlLink;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly hostName: string;
  readonly controlUrl: string;
  readonly joinToken: string | undefined;
};

/** At start, before anything waits for control: a token that cannot be one is found here. */
export function checkJoinToken(
  options: Pick<EnrolmentOptions, 'identity' | 'logger' | 'hostName' | 'joinToken'>,
): JoinToken | null {
  const { identity, logger, hostName, joinToken } = options;
  if (identity.enrolled !== null) {
    if (joinToken !== undefined)
      logger.info(
        { hostId: identity.enrolled.hostId },
        'this host is enrolled already; the join token is not used',
      );
    return null;
  }
  if (joinToken === undefined) {
    throw new StartError(`this host is not enrolled and has no join token: ${wayOut(hostName)}`);
  }
  const parsed = parseJoinToken(joinToken);
  if (parsed === null) {
    throw new StartError(
      `the join token is not one (hfj1.<id>.<secret>.<key>), perhaps it was cut: ${wayOut(hostName)}`,
    );
  }
  return parsed;
}

/**
 * Returns when the host is enrolled or the daemon stops. `onFailure` hears of each try that failed.
 */
export async function enrol(
  options: EnrolmentOptions,
  token: JoinToken,
  hooks: { signal: AbortSignal; onFailure: (detail: string) => void },
): Promise<void> {
  const { identity, link, clock, random, logger, hostName, controlUrl } = options;
  const { signal } = hooks;
  for (let failures = 1; !signal.aborted; failures += 1) {
    const join = { token: token.text, keyThumbprint: token.keyThumbprint, hostName };
    const result = await link.enrol(join, signal);
    if (result.kind === 'answer') {
      await identity.recordEnrolment(result.payload);
      logger.info(
        { hostId: result.payload.hostId, controlId: result.payload.controlId },
        'this host is enrolled',
      );
      return;
    }
    if (signal.aborted) return;
    if (result.kind === 'refused') {
      throw new StartError(
        `control at ${controlUrl} refused to enrol this host: ${result.code}: ${result.detail}; ` +
          wayOut(hostName),
      );
    }
    hooks.onFailure(result.detail);
    const wait = { failures, maxMs: RETRY_MS_MAX, retryAfterMs: result.retryAfterMs };
    const delayMs = backoffWithFloorMs(wait, random.unit());
    logger.warn(
      { controlUrl, cause: result.cause, detail: result.detail, retryInMs: delayMs },
      'cannot enrol yet',
    );
    await clock.sleep(delayMs, signal);
  }
}

function wayOut(hostName: string): string {
  return `ask an operator for a new join token (holdfast host join-token ${hostName}) and start with it`;
}
