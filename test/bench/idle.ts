/** What the sidecar costs when nothing is asked of it: of a core, with control up and in an outage. */
import { CONTROL_STATES, ControlLoss, type ControlState } from './control-loss.ts';
import { HostUnderLoad, pause } from './host-under-load.ts';

export type IdleFigures = {
  readonly states: readonly {
    readonly control: ControlState;
    readonly cpuPercent: number;
  }[];
  readonly worstCpuPercent: number;
  readonly seconds: number;
};

/** What starting and the change itself cost is over. */
const SETTLE_MS = 5_000;

export async function benchIdle(options: {
  readonly seconds: number;
  readonly say: (text: string) => void;
}): Promise<IdleFigures> {
  const { seconds, say } = options;
  const host = await HostUnderLoad.start(say);
  const loss = new ControlLoss(host);
  try {
    const states: IdleFigures['states'][number][] = [];
    for (const control of CONTROL_STATES) {
      await loss.become(control);
      await pause(SETTLE_MS);
      const [cpuMs, startedMs] = [host.cpuMs('sidecar'), performance.now()];
      await pause(seconds * 1_000);
      const elapsedMs = performance.now() - startedMs;
      const cpuPercent = ((host.cpuMs('sidecar') - cpuMs) / elapsedMs) * 100;
      states.push({ control, cpuPercent });
      say(`idle, control ${control}: ${cpuPercent.toFixed(2)} % of a core over ${seconds} s`);
    }
    const worstCpuPercent = Math.max(...states.map((state) => state.cpuPercent));
    return { states, worstCpuPercent, seconds };
  } finally {
    await loss.dispose();
    await host.dispose();
  }
}
