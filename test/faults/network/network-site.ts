/** A control and a sidecar with a wire between them that can be made bad. */
import { readFileSync } from 'node:fs';
import { ProblemError } from '../../../shared/client/problem-error.ts';
import type { FakeRandom } from '../../fakes/fake-random.ts';
import { ChaosProxy } from '../inject/chaos-proxy.ts';
import { JoinedDaemons } from '../sidecar/joined-daemons.ts';
import { pause } from '../pause.ts';
import type { Undo } from '../undo.ts';

const POLICY = readFileSync(new URL('../sidecar/campaign-policy.yaml', import.meta.url), 'utf8');

const BOUND_MS = 20_000;
const POLL_MS = 50;

export type NetworkSite = { readonly daemons: JoinedDaemons; readonly proxy: ChaosProxy };

export async function makeNetworkSite(undo: Undo, random: FakeRandom): Promise<NetworkSite> {
  const { promise, resolve } = Promise.withResolvers<ChaosProxy>();
  const daemons = await JoinedDaemons.start(undo, {
    kind: 'network',
    policy: POLICY,
    sidecarSettings: { HOLDFAST_SYNC_INTERVAL: '500ms', HOLDFAST_REQUEST_TIMEOUT: '1s' },
    wire: (controlPort) => {
      const proxy = new ChaosProxy(controlPort, random);
      undo.add('the wire', () => proxy.close());
      resolve(proxy);
      return proxy.listen();
    },
  });
  return { daemons, proxy: await promise };
}

/** The policy once more, as another revision. */
export async function publishAgain(daemons: JoinedDaemons, name: string): Promise<number> {
  const control = daemons.controlClient();
  try {
    const { policyRevision: replaces } = await control.policy();
    const document = POLICY.replace(/^description: .*$/m, `description: ${name}`);
    const publish = () =>
      control.publishPolicy(document, { format: 'yaml', replaces, impact: false });
    const published = await afterRecovery(publish);
    if (!('policyRevision' in published)) throw new Error('the publication waits for somebody');
    return published.policyRevision;
  } finally {
    await control.close();
  }
}

/** A control that was started anew publishes when it has heard the sidecar, or a term of leases later. */
async function afterRecovery<T>(publish: () => Promise<T>): Promise<T> {
  const startedMs = performance.now();
  for (;;) {
    try {
      return await publish();
    } catch (error) {
      const isRecovering = error instanceof ProblemError && error.code === 'recovering';
      if (!isRecovering || performance.now() - startedMs > BOUND_MS) throw error;
      await pause(POLL_MS);
    }
  }
}
