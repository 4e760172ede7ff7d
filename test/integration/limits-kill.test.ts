/** A quota and a sidecar that is killed in the middle of using it, again and again. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { UndiciTransport, UnreachableError } from '../../shared/client/transport.ts';
import type { Operation } from '../../shared/wire/operation.ts';
import { SidecarProcess } from '../faults/sidecar/sidecar-process.ts';
import { makeSite } from '../faults/sidecar/site.ts';
import { Undo } from '../faults/undo.ts';

const BOUND_MS = 90_000;
const QUOTA = 60;
const KILLS = 4;
const AT_ONCE = 12;

const POLICY = `
apiVersion: holdfast/v1
kind: Policy
principals:
  agent:worker: { roles: [agent] }
rules:
  - name: jobs
    actions: [jobs.run]
    permit: [{ expression: 'true' }]
    maxStaleness: 24h
    # One window for as long as anybody runs this.
    limits: { quota: ${QUOTA}/9999d }
`;

const undo = new Undo();
afterAll(() => undo.undoAll());

test(
  'I1, I3: however often it is killed, exactly the quota is admitted',
  { timeout: BOUND_MS },
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'limits-kill-'));
    undo.add(`directory ${directory}`, () => rmSync(directory, { recursive: true }));
    const policyFile = join(directory, 'policy.yaml');
    writeFileSync(policyFile, POLICY);
    const site = await makeSite(undo, policyFile);
    const transport = new UndiciTransport({ url: `http://127.0.0.1:${site.port}` });
    const headers = { authorization: `Bearer ${site.token}`, 'holdfast-request': '1' };
    let asked = 0;
    const ask = async (): Promise<number> => {
      asked += 1;
      try {
        const { status } = await transport.send({
          method: 'POST',
          path: '/v1/operations',
          headers: {
            ...headers,
            'idempotency-key': `job-${asked}`,
            'content-type': 'application/json',
          },
          body: JSON.stringify({ principal: 'agent:worker', action: 'jobs.run' }),
          timeoutMs: 5_000,
        });
        return status;
      } catch (error) {
        if (error instanceof UnreachableError) return 0;
        throw error;
      }
    };
    const askAll = (): Promise<number[]> => Promise.all(Array.from({ length: AT_ONCE }, ask));

    let acknowledged = 0;
    for (let kills = 0; kills < KILLS; kills += 1) {
      const sidecar = new SidecarProcess(site, undo, { dataDir: site.template });
      expect(await sidecar.started()).toEqual({ kind: 'ready' });
      // The first to be answered tells that the journal is at work: it is killed in the midst of it.
      const asking = Array.from({ length: AT_ONCE }, ask);
      await Promise.race(asking);
      await sidecar.kill();
      acknowledged += (await Promise.all(asking)).filter((status) => status === 201).length;
      await sidecar.close();
    }
    const last = new SidecarProcess(site, undo, { dataDir: site.template });
    expect(await last.started()).toEqual({ kind: 'ready' });
    let statuses = await askAll();
    while (statuses.includes(201)) {
      acknowledged += statuses.filter((status) => status === 201).length;
      statuses = await askAll();
    }
    expect(new Set(statuses)).toEqual(new Set([429]));
    const listed = await transport.send({
      method: 'GET',
      path: '/v1/operations?limit=500',
      headers,
      timeoutMs: 5_000,
    });
    const { items } = JSON.parse(listed.body) as { items: Operation[] };
    expect(items).toHaveLength(QUOTA);
    expect(acknowledged).toBeLessThanOrEqual(QUOTA);
    await last.close();
    await transport.close();
  },
);
