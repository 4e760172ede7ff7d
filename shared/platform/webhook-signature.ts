/** Signatures of webhooks as Standard Webhooks has them: `v1`, HMAC-SHA256 over id, time and body. */
import { createHmac } from 'node:crypto';

export const WEBHOOK_SECRET_PATTERN = '^whsec_[A-Za-z0-9+/]{32,88}={0,2}$';

export type WebhookHeaders = {
  readonly 'webhook-id': string;
  readonly 'webhook-timestamp': string;
  readonly 'webhook-signature': string;
};

/** `secret` as `whsec_` and base64. */
export function webhookHeaders(
  secret: string,
  message: { readonly id: string; readonly timestampSeconds: number; readonly body: string },
): WebhookHeaders {
  const { id, timestampSeconds, body } = message;
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const signed = createHmac('sha256', key).update(`${id}.${timestampSeconds}.${body}`);
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestampSeconds),
    'webhook-signature': `v1,${signed.digest('base64')}`,
  };
}
