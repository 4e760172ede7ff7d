/** Whether a notice speaks against a request. A word with `*` at its end stands for all that begin so. */
import type { Notice } from './authority-timeline.ts';

export type NoticedRequest = {
  readonly hostId: string;
  readonly app: string;
  readonly principal: string;
  readonly action: string;
  readonly resourceId: string;
};

export function speaksAgainst({ kind, subject }: Notice, request: NoticedRequest): boolean {
  switch (kind) {
    case 'revoke_principal':
      return request.principal === subject;
    case 'revoke_credential':
      // The credentials of a request: the token of the app that asked, and the key of its host.
      return subject === `app:${request.app}` || subject === `host:${request.hostId}`;
    case 'kill_action':
      return fits(subject, request.action);
    case 'hold_resource':
      return fits(subject, request.resourceId);
  }
}

function fits(pattern: string, word: string): boolean {
  return pattern.endsWith('*') ? word.startsWith(pattern.slice(0, -1)) : word === pattern;
}
