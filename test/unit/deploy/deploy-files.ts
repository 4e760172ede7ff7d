/** What the tests of deploy/ read: its YAML as values, and each pod that it would make. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';

export const REPOSITORY_ROOT = join(import.meta.dirname, '..', '..', '..');

export function readText(path: string): string {
  return readFileSync(join(REPOSITORY_ROOT, path), 'utf8');
}

/** Paths from the root of the repository. */
export function findFiles(pattern: string): string[] {
  return globSync(pattern, { cwd: REPOSITORY_ROOT }).toSorted();
}

export type Probe = {
  readonly httpGet?: { readonly path: string };
  readonly exec?: { readonly command: readonly string[] };
};

export type Container = {
  readonly name: string;
  readonly image: string;
  readonly restartPolicy?: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string }[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly securityContext: {
    readonly runAsUser?: number;
    readonly runAsNonRoot?: boolean;
    readonly allowPrivilegeEscalation: boolean;
    readonly readOnlyRootFilesystem: boolean;
    readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] };
  };
};

export type PodSpec = {
  readonly enableServiceLinks?: boolean;
  readonly automountServiceAccountToken?: boolean;
  readonly securityContext: { readonly runAsNonRoot: boolean; readonly runAsUser: number };
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes?: readonly { readonly name: string; readonly emptyDir?: object }[];
};

type Manifest = {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec?: { readonly template?: { readonly spec: PodSpec } };
};

export type Workload = { readonly name: string; readonly pod: PodSpec };

export const KUSTOMIZATIONS = findFiles('deploy/kubernetes/**/kustomization.yaml');

export const MANIFESTS = findFiles('deploy/kubernetes/**/*.yaml').filter(
  (path) => !KUSTOMIZATIONS.includes(path),
);

export function readWorkloads(): Workload[] {
  return MANIFESTS.flatMap((path) =>
    parseAllDocuments(readText(path)).flatMap((document) => {
      const manifest = document.toJSON() as Manifest;
      const pod = manifest.spec?.template?.spec;
      return pod === undefined ? [] : [{ name: `${manifest.kind} ${manifest.metadata.name}`, pod }];
    }),
  );
}

export function containersOf(pod: PodSpec): Container[] {
  return [...(pod.initContainers ?? []), ...pod.containers];
}

/** The containers that run one of the two daemons. */
export function daemonsOf(pod: PodSpec): Container[] {
  return containersOf(pod).filter(({ args }) => args?.[0]?.endsWith('/main.ts'));
}

export type ComposeService = {
  readonly image: string;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly user: string;
  readonly read_only: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
};

export function readCompose(): Record<string, ComposeService> {
  const compose = parse(readText('deploy/compose.yaml'), { merge: true }) as {
    readonly services: Record<string, ComposeService>;
  };
  return compose.services;
}
