/** The part of the sidecar client that is about webhooks: `client.webhooks`. */
import type { Webhook } from '../wire/webhook-api.ts';
import type { JsonCaller } from './json-caller.ts';

export class WebhookClient {
  readonly #caller: JsonCaller;

  constructor(caller: JsonCaller) {
    this.#caller = caller;
  }

  async list(): Promise<readonly Webhook[]> {
    const call = { method: 'GET', path: '/v1/webhooks' } as const;
    return (await this.#caller.body<{ items: Webhook[] }>(call)).items;
  }

  /** Tries once more what was given up. */
  retry(name: string): Promise<Webhook> {
    const path = `/v1/webhooks/${encodeURIComponent(name)}/retry`;
    return this.#caller.body({ method: 'POST', path });
  }
}
