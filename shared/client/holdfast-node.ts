/** The package under Node: TCP or a Unix socket. */
import { Holdfast, portablePorts, targetOf, type HoldfastOptions } from './holdfast.ts';
import { NodeTransport } from './node-transport.ts';

export * from './holdfast-surface.ts';

/** Close it when the app stops. */
export function createHoldfast(options: HoldfastOptions): Holdfast {
  const ports = portablePorts();
  const transport = new NodeTransport(targetOf(options), ports.clock);
  return new Holdfast(options, { ...ports, transport });
}
