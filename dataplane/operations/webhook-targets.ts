/**
 * Where webhooks go: a file names each target, its secret, and whose operations it is told of. It is
 * the only place from which an address comes: no request can make this daemon call one.
 */
import Type, { type Static } from 'typebox';
import { readSecretFile } from '../../shared/platform/secret-file.ts';
import { StartError } from '../../shared/platform/shutdown.ts';
import { WEBHOOK_SECRET_PATTERN } from '../../shared/platform/webhook-signature.ts';

const TargetSchema = Type.Object(
  {
    name: Type.String({ pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' }),
    url: Type.String({ pattern: '^https?://[^\\s#]+$', maxLength: 2_000 }),
    secret: Type.String({ pattern: WEBHOOK_SECRET_PATTERN }),
    app: Type.Optional(Type.String({ pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' })),
  },
  { additionalProperties: false },
);
const TargetsFileSchema = Type.Object(
  { webhooks: Type.Array(TargetSchema, { minItems: 1, maxItems: 32 }) },
  { additionalProperties: false },
);

export type WebhookTarget = Static<typeof TargetSchema>;

/** Throws a `StartError` that names the place and the way out. */
export function loadWebhookTargets(path: string): readonly WebhookTarget[] {
  const content = readSecretFile(path, {
    name: 'webhooks',
    schema: TargetsFileSchema,
    form: 'webhooks: [{name, url, secret: whsec_<base64 of 24 to 64 bytes>}]',
  });
  const names = new Set<string>();
  for (const { name, url } of content.webhooks) {
    if (names.has(name)) throw new StartError(`the webhooks file ${path} names ${name} twice`);
    if (!URL.canParse(url)) throw new StartError(`webhook ${name}: ${url} is no address`);
    names.add(name);
  }
  return content.webhooks;
}
