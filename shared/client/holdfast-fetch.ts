/** The package where there is no Node: TCP, by the `fetch` that is there. */
import { FetchTransport, type Fetch } from './fetch-transport.ts';
import { Holdfast, portablePorts, targetOf, type HoldfastOptions } from './holdfast.ts';

export * from './holdfast-surface.ts';

/** Close it when the app stops. */
export function createHoldfast(options: HoldfastOptions): Holdfast {
  const target = targetOf(options);
  if (target.socketPath !== undefined)
    throw new TypeError(`${target.socketPath}: a Unix socket needs Node; give url`);
  const ports = portablePorts();
  const fetch = globalThis.fetch as unknown as Fetch;
  const call: Fetch = (url, init) => fetch(url, init);
  return new Holdfast(options, {
    ...ports,
    transport: new FetchTransport(target, ports.clock, call),
  });
}
