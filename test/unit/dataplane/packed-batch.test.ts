import { expect, test } from 'vitest';
import { AdmissionTexts } from '../../../dataplane/core/admission-text.ts';
import type { JournalAnswer, JournalCommand } from '../../../dataplane/journal/journal-command.ts';
import {
  packBatch,
  packCommands,
  unpackAnswers,
  unpackCommands,
} from '../../../dataplane/journal/packed-batch.ts';
import { newEntry } from '../../fakes/journal-image.ts';

const texts = new AdmissionTexts();

function admitOf(key: string, over: object = {}): JournalCommand {
  const { operationId, admission, authorityEndsBootMs, now } = newEntry(key);
  return {
    type: 'admit',
    operationId,
    app: admission.app,
    idempotencyKey: admission.idempotencyKey,
    fingerprint: admission.fingerprint,
    leaseResource: 'orders/1',
    leaseEpoch: 7,
    state: 'accepted',
    onControlLoss: 'pause',
    deadlineAtMs: admission.deadlineAtMs,
    action: admission.action,
    authorityEndsBootMs,
    admission: texts.textOf(admission),
    now,
    outageId: 'out_1',
    ...over,
  };
}

test('what crosses to the writer arrives as it was, in its order', () => {
  const { now } = newEntry('k');
  const commands: JournalCommand[] = [
    admitOf('a'),
    { type: 'acknowledge', seq: 3, now, outageId: null },
    admitOf('b', { leaseResource: null, leaseEpoch: null, outageId: null, noRoom: 'full' }),
    admitOf('c', { admission: { own: 'x', end: '' }, now: { ...now, bootId: 'another' } }),
  ];
  const packed = structuredClone(packCommands(commands));
  expect(unpackCommands(packed)).toEqual(commands);
  // What two have in common crosses once.
  expect(packed.shared).toHaveLength(4);
});

test('so do the answers', () => {
  const answers: JournalAnswer[] = [
    { type: 'admitted', recorded: null },
    { type: 'declined', code: 'journal_full', detail: 'full' },
    { type: 'recorded' },
  ];
  const state = { head: { seq: 1, hash: 'h' }, ackedSeq: 0, counts: { accepted: 1 }, commitMs: 2 };
  const { answers: crossed, ...rest } = structuredClone(packBatch({ answers, ...state }));
  expect(unpackAnswers(crossed)).toEqual(answers);
  expect(rest).toEqual(state);
});
