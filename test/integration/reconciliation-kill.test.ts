/** A sidecar that is killed while it asks what happened, and asks again when it is back. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openSidecar } from '../../shared/client/index.ts';
import { SidecarProcess } from '../faults/sidecar/sidecar-process.ts';
import { makeSite } from '../faults/sidecar/site.ts';
import { Undo } from '../faults/undo.ts';
import { openStandIn } from '../fakes/http-stand-in.ts';

const undo = new Undo();
afterAll(() => undo.undoAll());

test(
  'I1, I8: killed between the question and the record of its answer, it counts that try and asks again',
  { timeout: 90_000 },
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'reconciliation-kill-'));
    undo.add(`directory ${directory}`, () => rmSync(directory, { recursive: true }));
    const asked = Promise.withResolvers<void>();
    // The first question is heard and never answered.
    let questions = 0;
    const app = await openStandIn(() => {
      questions += 1;
      asked.resolve();
      if (questions === 1) return 'silence';
      return { status: 200, body: { outcome: 'succeeded', evidence: 'ledger line 7' } };
    });
    undo.add('the app', () => void app.close());
    const policyFile = join(directory, 'policy.yaml');
    writeFileSync(
      policyFile,
      `
apiVersion: holdfast/v1
kind: Policy
principals: { agent:worker: { roles: [agent] } }
rules:
  - name: jobs
    actions: [jobs.run]
    permit: [{ expression: 'true' }]
    maxStaleness: 24h
    onUnknown:
      { strategy: probe, interval: 1s, attempts: 3, probe: { url: ${app.url}/verify, timeout: 30s } }
    effects: { charge: {} }
`,
    );
    const site = await makeSite(undo, policyFile);
    const { token } = site;
    const sidecar = openSidecar({ endpoint: `http://127.0.0.1:${site.port}`, token });
    const first = new SidecarProcess(site, undo, { dataDir: site.template });
    expect(await first.started()).toEqual({ kind: 'ready' });
    const request = { principal: 'agent:worker', action: 'jobs.run' };
    const { operation } = await sidecar.admit(request, { idempotencyKey: 'job-1' });
    const { operationId } = operation;
    const { attempt } = await sidecar.startAttempt(operationId);
    await sidecar.beginEffect({ operationId, attempt, effect: 'charge' });
    await sidecar.reportOutcome({ operationId, attempt }, { outcome: 'unknown' });
    await asked.promise;
    await first.kill();
    await first.close();

    const second = new SidecarProcess(site, undo, { dataDir: site.template });
    expect(await second.started()).toEqual({ kind: 'ready' });
    const { reconciliations } = sidecar;
    await expect
      .poll(async () => (await reconciliations.get(operationId)).state, { timeout: 30_000 })
      .toBe('succeeded');
    expect(await reconciliations.get(operationId)).toMatchObject({
      tries: 2,
      outcome: { provenance: 'verified', by: 'probe', evidence: 'ledger line 7' },
    });
    expect(questions).toBe(2);
    await sidecar.close();
    await second.close();
  },
);
