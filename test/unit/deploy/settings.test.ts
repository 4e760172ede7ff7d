import { expect, test } from 'vitest';
import { daemonsOf, findFiles, readCompose, readText, readWorkloads } from './deploy-files.ts';

/** Read as text, so that this test says what is wrong even where a configuration does not load. */
const CONFIGURATIONS: Readonly<Record<string, string>> = {
  'control/main.ts': 'control/config.ts',
  'dataplane/main.ts': 'dataplane/config.ts',
};

/** Read by Node and by libc: they keep the memory small ("Memory" in dataplane/DESIGN.md). */
const OF_THE_RUNTIME: Readonly<Record<string, string>> = {
  NODE_OPTIONS: '--max-semi-space-size=8',
  MALLOC_ARENA_MAX: '2',
  MALLOC_TRIM_THRESHOLD_: '131072',
};

/**
 * Which daemon a file starts, and the variables that it gives it. A daemon refuses any it does not
 * know.
 */
type Setting = {
  readonly where: string;
  readonly program: string;
  readonly variables: readonly string[];
};

function settings(): Setting[] {
  const image = readText('Dockerfile').match(/\bHOLDFAST_[A-Z_]+(?==)/g) ?? [];
  const units = findFiles('deploy/systemd/*.service').map((where) => ({
    where,
    program: /^ExecStart=\S+ (\S+)$/m.exec(readText(where))?.[1] ?? '',
    variables: [...readText(where).matchAll(/^Environment=([A-Z_]+)=/gm)].map(
      ([, name = '']) => name,
    ),
  }));
  const services = Object.entries(readCompose())
    .filter(([, { command }]) => command[0]?.endsWith('/main.ts'))
    .map(([name, { command, environment }]) => ({
      where: `${name} in deploy/compose.yaml`,
      program: command[0] ?? '',
      variables: Object.keys(environment ?? {}),
    }));
  const containers = readWorkloads().flatMap(({ name, pod }) =>
    daemonsOf(pod).map((container) => ({
      where: `${container.name} in ${name}`,
      program: container.args?.[0] ?? '',
      variables: (container.env ?? []).map((variable) => variable.name),
    })),
  );
  const built = Object.keys(CONFIGURATIONS).map((program) => ({
    where: 'Dockerfile',
    program,
    variables: image,
  }));
  return [...built, ...units, ...services, ...containers];
}

/** `dataDir`, a key of a configuration, is HOLDFAST_DATA_DIR in the environment. */
function keyOf(variable: string): string {
  return variable
    .replace('HOLDFAST_', '')
    .toLowerCase()
    .replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

test('each daemon is set up by the image, a unit, compose and Kubernetes', () => {
  const counted = (program: string) => settings().filter((setting) => setting.program === program);
  expect(counted('control/main.ts')).toHaveLength(4);
  // Kubernetes has the sidecar in two shapes.
  expect(counted('dataplane/main.ts')).toHaveLength(5);
});

test.for(settings())('$where: $program knows each variable', ({ program, variables }) => {
  const configuration = readText(CONFIGURATIONS[program] ?? '');
  expect(variables.length).toBeGreaterThan(0);
  for (const variable of variables.filter((name) => !(name in OF_THE_RUNTIME))) {
    expect(configuration, variable).toMatch(new RegExp(`\\b${keyOf(variable)}\\s*:`));
  }
});

test.for(['Dockerfile', 'deploy/systemd/holdfast-sidecar.service'])(
  '%s keeps the memory of a sidecar small',
  (where) => {
    const words = readText(where).split(/\s|^Environment=/m);
    for (const [name, value] of Object.entries(OF_THE_RUNTIME))
      expect(words).toContain(`${name}=${value}`);
  },
);
