/** What a notice can be about: the words that a host compares, and no others. */
import type { NoticeKind } from '../../shared/wire/divergences.ts';

const PRINCIPAL = /^[a-z][a-z0-9-]*:[A-Za-z0-9._@/-]{1,200}$/;
const CREDENTIAL = /^(app|host):[A-Za-z0-9._-]{1,200}$/;
const ACTION = /^[a-z][a-zA-Z0-9_-]*(\.[a-z][a-zA-Z0-9_-]*)*(\.\*)?$/;

/** Why it is none; `null` where it is one. */
export function subjectProblem(kind: NoticeKind, subject: string): string | null {
  switch (kind) {
    case 'revoke_principal':
      return PRINCIPAL.test(subject) ? null : 'must be a principal, as agent:billing';
    case 'revoke_credential':
      return CREDENTIAL.test(subject)
        ? null
        : 'must be app:NAME (its token at the sidecars) or host:ID (as in `holdfast host list`)';
    case 'kill_action':
      return subject === '*' || ACTION.test(subject)
        ? null
        : 'must be an action, as payments.capture, or payments.* for all that begin so, or *';
    case 'hold_resource': {
      const star = subject.indexOf('*');
      return star === -1 || star === subject.length - 1
        ? null
        : 'may have a * at its end only, for all that begin so';
    }
  }
}
