import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import {
  KUSTOMIZATIONS,
  MANIFESTS,
  containersOf,
  daemonsOf,
  readText,
  readWorkloads,
} from './deploy-files.ts';
import type { Container, Probe } from './deploy-files.ts';

const workloads = readWorkloads();

/** Gives the folders of the host to the sidecar's user, which only root may do. */
const ROOT_CONTAINER = 'own-host-folders';

function probed(probe: Probe | undefined): string | undefined {
  return probe?.httpGet?.path ?? probe?.exec?.command.at(-1);
}

test('every manifest is listed in a kustomization beside it, and every listed one exists', () => {
  const listed = KUSTOMIZATIONS.flatMap((path) => {
    const { resources } = parse(readText(path)) as { readonly resources: readonly string[] };
    return resources.map((resource) => join(dirname(path), resource));
  });
  expect(listed.toSorted()).toEqual(MANIFESTS.toSorted());
});

test('there is a workload for control, one for every node, and one with a native sidecar', () => {
  expect(workloads.map(({ name }) => name)).toEqual([
    'StatefulSet holdfast-control',
    'StatefulSet orders',
    'DaemonSet holdfast-sidecar',
  ]);
});

describe.for(workloads)('$name', ({ pod }) => {
  test('keeps the environment free of what Kubernetes would add', () => {
    // A Service called holdfast-control makes HOLDFAST_CONTROL_PORT, an unknown key that stops a
    // daemon.
    expect(pod.enableServiceLinks).toBe(false);
    expect(pod.automountServiceAccountToken).toBe(false);
  });

  test.for(containersOf(pod))('runs $name without rights that it does not need', (container) => {
    const { securityContext, name } = container;
    const isRoot = securityContext.runAsUser === 0;
    expect(isRoot).toBe(name === ROOT_CONTAINER);
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true });
    expect(pod.securityContext.runAsUser).toBeGreaterThan(0);
    expect(securityContext).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(securityContext.capabilities.add).toEqual(isRoot ? ['CHOWN'] : undefined);
  });

  test.for(containersOf(pod))('pins the image of $name', ({ image }) => {
    expect(image).toMatch(/:\d+\.\d+\.\d+$/);
  });

  test.for(daemonsOf(pod))('probes $name where it answers', (container) => {
    expect(probed(container.startupProbe)).toMatch(/\/startupz$/);
    expect(probed(container.livenessProbe)).toMatch(/\/livez$/);
    expect(probed(container.readinessProbe)).toMatch(/\/readyz$/);
  });

  test.for(daemonsOf(pod))('keeps what $name has accepted when the pod is deleted', (container) => {
    const data = container.volumeMounts?.find(({ mountPath }) => mountPath === '/var/lib/holdfast');
    expect(data).toBeDefined();
    const lost = pod.volumes?.filter(({ emptyDir }) => emptyDir !== undefined) ?? [];
    expect(lost.map(({ name }) => name)).not.toContain(data?.name);
  });
});

test('the native sidecar is up before the application and stops after it', () => {
  const orders = workloads.find(({ name }) => name === 'StatefulSet orders');
  const sidecars: readonly Container[] = orders?.pod.initContainers ?? [];
  expect(sidecars).toMatchObject([{ restartPolicy: 'Always', args: ['dataplane/main.ts'] }]);
});
