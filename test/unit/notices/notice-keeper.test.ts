/** The notices of a host on its disk: what is confirmed, what a restart and damage leave. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NoticeKeeper } from '../../../dataplane/authority/notice-keeper.ts';
import { createLogger } from '../../../shared/platform/logger.ts';
import {
  generateSigningKey,
  openSigner,
  openVerifier,
  publicPart,
  type Signer,
  type Verifier,
} from '../../../shared/platform/signatures.ts';
import type { NoticesAnswer } from '../../../shared/wire/notices.ts';
import { STATEMENT_TYPES } from '../../../shared/wire/statements.ts';
import { CountingMetrics } from '../../fakes/upstream-world.ts';

const REQUEST = { app: 'billing', principal: 'agent:mallory', action: 'a.b', resourceId: '' };
const ENROLLED = { hostId: 'host_1', controlId: 'ctl_1' };

let directory: string;
let signer: Signer;
let verifier: Verifier;
let settled: () => Promise<unknown>;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'holdfast-notices-'));
  const key = await generateSigningKey();
  signer = await openSigner(key);
  verifier = await openVerifier([publicPart(key)]);
  settled = () => Promise.resolve();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function open(): NoticeKeeper {
  const keeper = new NoticeKeeper({
    directory,
    identity: { enrolled: ENROLLED as never, verifier },
    logger: createLogger({ name: 'test', level: 'silent' }),
    metrics: new CountingMetrics(),
    settled: () => settled(),
  });
  keeper.open();
  return keeper;
}

async function answer(sequence = 1, controlId = 'ctl_1'): Promise<NoticesAnswer> {
  const entry = { sequence, follows: sequence - 1, entryId: `e${sequence}`, noticeId: 'ntc_1' };
  const about = { kind: 'revoke_principal', subject: 'agent:mallory', reason: 'stolen' };
  const entries = [{ ...entry, ...about, inForce: true, atMs: 1 }];
  const statement = await signer.sign(STATEMENT_TYPES.notices, { controlId, entries });
  return { sequence, statement };
}

test('I1: it is obeyed at once, and confirmed only when the journal has settled', async () => {
  const keeper = open();
  const journal = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  settled = () => {
    asked.resolve();
    return journal.promise;
  };
  const taking = keeper.take(await answer());
  await asked.promise;
  expect(keeper.against(REQUEST)).toMatchObject({ code: 'principal_revoked' });
  expect(keeper.request()).toEqual({ sequence: 0, entryId: null });
  journal.resolve();
  expect(await taking).toEqual({ isWhole: true, isMore: true });
  expect(keeper.request()).toEqual({ sequence: 1, entryId: 'e1' });
});

test('I5: a restart keeps it, and a damaged file refuses all until control has said it again', async () => {
  await open().take(await answer());
  const again = open();
  expect(again.against(REQUEST)).toMatchObject({ code: 'principal_revoked' });
  expect(again.request()).toEqual({ sequence: 1, entryId: 'e1' });
  writeFileSync(join(directory, 'notices.json'), '{"half');
  const damaged = open();
  const other = { ...REQUEST, principal: 'agent:billing' };
  expect(damaged.against(other)).toMatchObject({ code: 'notices_unknown' });
  expect(damaged.request()).toEqual({ sequence: 0, entryId: null });
  await damaged.take(await answer());
  expect(damaged.against(other)).toBeNull();
  expect(damaged.against(REQUEST)).toMatchObject({ code: 'principal_revoked' });
});

test('what is forged, foreign, or leaves a number out confirms nothing (I10)', async () => {
  const keeper = open();
  const nothing = { isWhole: false, isMore: false };
  expect(await keeper.take(await answer(1, 'ctl_2'))).toEqual(nothing);
  expect(await keeper.take(await answer(2))).toEqual(nothing);
  const stranger = await openSigner(await generateSigningKey());
  const statement = await stranger.sign(STATEMENT_TYPES.notices, { controlId: 'ctl_1' });
  expect(await keeper.take({ sequence: 1, statement })).toEqual(nothing);
  expect(keeper.against(REQUEST)).toBeNull();
});

test('I10: what is pushed is obeyed and confirmed by the next sync, and forged it is nothing', async () => {
  const keeper = open();
  const pushed = async (sequence: number, controlId?: string): Promise<void> =>
    keeper.takePushed((await answer(sequence, controlId)).statement ?? '');
  await pushed(1, 'ctl_2');
  await keeper.takePushed('no.statement.atall');
  expect(keeper.against(REQUEST)).toBeNull();
  expect(keeper.request()).toEqual({ sequence: 0, entryId: null });
  await pushed(1);
  expect(keeper.against(REQUEST)).toMatchObject({ code: 'principal_revoked' });
  expect(keeper.request()).toEqual({ sequence: 1, entryId: 'e1' });
  // Once more, and a sync that says the same: neither changes anything.
  await pushed(1);
  expect(await keeper.take(await answer(1))).toEqual({ isWhole: true, isMore: false });
});

test('I1: of two at once the older may be done later, and takes back no confirmation', async () => {
  const keeper = open();
  const writes: (() => void)[] = [];
  settled = () => new Promise<void>((resolve) => void writes.push(resolve));
  const [first, second] = [await answer(1), await answer(2)];
  const taking = [keeper.takePushed(first.statement ?? ''), keeper.take(second)];
  while (writes.length < 2) await new Promise((resolve) => setImmediate(resolve));
  writes[1]?.();
  await taking[1];
  writes[0]?.();
  await Promise.all(taking);
  expect(keeper.request()).toEqual({ sequence: 2, entryId: 'e2' });
});
