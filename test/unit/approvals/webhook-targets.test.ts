import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadWebhookTargets } from '../../../dataplane/operations/webhook-targets.ts';
import { webhookHeaders } from '../../../shared/platform/webhook-signature.ts';

const SECRET = `whsec_${Buffer.from('a secret of thirty-two bytes ....').toString('base64')}`;
const directory = mkdtempSync(join(tmpdir(), 'webhook-targets-'));
afterAll(() => rmSync(directory, { recursive: true }));

test('the example of the specification', () => {
  expect(
    webhookHeaders('whsec_plJ3nmyCDGBKInavdOK15jsl', {
      id: 'msg_loFOjxBNrRLzqYUf',
      timestampSeconds: 1_731_705_121,
      body: '{"event_type":"ping","data":{"success":true}}',
    })['webhook-signature'],
  ).toBe('v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=');
});

describe('the file of targets', () => {
  const wrong: [string, string, string][] = [
    ['no secret', 'webhooks: [{name: a, url: "http://x"}]', 'it needs webhooks'],
    ['another scheme', `webhooks: [{name: a, url: "file:///x", secret: "${SECRET}"}]`, '/url'],
    ['a short secret', 'webhooks: [{name: a, url: "http://x", secret: whsec_YQ==}]', '/secret'],
  ];
  test.each(wrong)('%s is refused at the start, with the way out', (_what, text, says) => {
    const path = join(directory, 'targets.yaml');
    writeFileSync(path, text, { mode: 0o640 });
    expect(() => loadWebhookTargets(path)).toThrow(says);
  });

  test('one that others can read is refused', () => {
    const path = join(directory, 'open.yaml');
    const text = `webhooks: [{name: a, url: "http://x", secret: "${SECRET}"}]`;
    writeFileSync(path, text, { mode: 0o644 });
    expect(() => loadWebhookTargets(path)).toThrow('chmod 0640');
  });
});
