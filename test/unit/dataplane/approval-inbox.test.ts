/** Words about approvals that control did not say to this host (I9, I10). */
import { beforeEach, expect, test } from 'vitest';
import { ApprovalInbox } from '../../../dataplane/upstream/approval-inbox.ts';
import { createLogger } from '../../../shared/platform/logger.ts';
import {
  generateSigningKey,
  openSigner,
  openVerifier,
  publicPart,
  type Signer,
} from '../../../shared/platform/signatures.ts';
import type { ApprovalStatement } from '../../../shared/wire/approval.ts';
import { STATEMENT_TYPES } from '../../../shared/wire/statements.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';
import { wordOf } from '../../fakes/stored-approval.ts';
import { CountingMetrics } from '../../fakes/upstream-world.ts';

const ENROLLED = { hostId: 'host_1', controlId: 'ctl_1', hostEpoch: 3 };

let control: Signer;
let inbox: ApprovalInbox;
let metrics: CountingMetrics;
let taken: ApprovalStatement[];

beforeEach(async () => {
  const key = await generateSigningKey();
  control = await openSigner(key);
  metrics = new CountingMetrics();
  taken = [];
  inbox = new ApprovalInbox({
    identity: { enrolled: ENROLLED as never, verifier: await openVerifier([publicPart(key)]) },
    clock: new FakeClock(),
    logger: createLogger({ name: 'test', level: 'silent' }),
    metrics,
  });
  inbox.useTaker((said) => {
    taken.push(said);
    return Promise.resolve('applied');
  });
});

function word(over: Partial<ApprovalStatement> = {}): ApprovalStatement {
  return wordOf('approved', { hostEpoch: 3, payloadDigest: 'f'.repeat(64), ...over });
}
const signed = (over: Partial<ApprovalStatement> = {}): Promise<string> =>
  control.sign(STATEMENT_TYPES.approval, word(over));

test('what control signed for this host is taken', async () => {
  expect(await inbox.take(await signed())).toBe('applied');
  expect(taken).toHaveLength(1);
});

const FORGED: readonly (readonly [string, string, () => Promise<string>])[] = [
  ['no statement at all', 'malformed', async () => 'approved'],
  [
    'one that a stranger signed',
    'key_unknown',
    async () =>
      (await openSigner(await generateSigningKey())).sign(STATEMENT_TYPES.approval, word()),
  ],
  [
    'one whose digest was changed after it was signed',
    'signature_invalid',
    async () => {
      const [header, , signature] = (await signed()).split('.');
      const payload = Buffer.from(JSON.stringify(word({ payloadDigest: 'e'.repeat(64) })));
      return `${header}.${payload.toString('base64url')}.${signature}`;
    },
  ],
  [
    'a statement of control about something else',
    'type_mismatch',
    () => control.sign(STATEMENT_TYPES.notices, word()),
  ],
  [
    'words that are none',
    'payload_invalid',
    () => control.sign(STATEMENT_TYPES.approval, { ...word(), outcome: 'approve-all' }),
  ],
  ['the word of another control', 'foreign_control', () => signed({ controlId: 'ctl_2' })],
  ['a word for another host', 'foreign_host', () => signed({ hostId: 'host_2' })],
  [
    'a word for this host as it was enrolled before',
    'host_epoch_stale',
    () => signed({ hostEpoch: 2 }),
  ],
];

test.each(FORGED)('I9, I10: %s changes nothing, and is counted', async (_, outcome, make) => {
  expect(await inbox.take(await make())).toBe(outcome);
  expect(taken).toEqual([]);
  expect(metrics.value('holdfast_approval_statements_total', { outcome })).toBe(1);
});

test('before this host is enrolled nothing is taken', async () => {
  const { verifier } = { verifier: await openVerifier([publicPart(await generateSigningKey())]) };
  const early = new ApprovalInbox({
    identity: { enrolled: null, verifier },
    clock: new FakeClock(),
    logger: createLogger({ name: 'test', level: 'silent' }),
    metrics,
  });
  expect(await early.take(await signed())).toBe('not_now');
});
