/** A revocation on its way from control to a sidecar, over real sockets. */
import { expect, test } from 'vitest';
import { startBothDaemons } from '../fakes/both-daemons.ts';
import { policyDocument } from '../fakes/control-world.ts';

const REQUEST = {
  principal: 'agent:billing',
  action: 'payments.capture',
  attributes: { amount: 1 },
};

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 20));
}

test('I1, I10: once control shows it as confirmed, the host admits nothing against it', async () => {
  const daemons = await startBothDaemons(policyDocument());
  const { app, control } = daemons;
  try {
    const admits = (key: string): Promise<boolean> =>
      app.admit(REQUEST, { idempotencyKey: key }).then(
        () => true,
        () => false,
      );
    await until(() => admits('k-1'));
    const given = { kind: 'revoke_principal', subject: 'agent:billing', reason: 'stolen' } as const;
    const { noticeId } = await control.notices.record(given);
    await until(async () => (await control.notices.fetch(noticeId)).confirmed === 1);
    await expect(app.admit(REQUEST, { idempotencyKey: 'k-2' })).rejects.toMatchObject({
      code: 'principal_revoked',
    });
    await control.notices.lift(noticeId, 'found again');
    await until(() => admits('k-3'));
  } finally {
    await daemons.close();
  }
});
