import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { REPOSITORY_ROOT, readCompose, readText } from './deploy-files.ts';

type Instruction = { readonly name: string; readonly value: string };

/** Instructions with continuation lines joined; comments and blank lines left out. */
function readDockerfile(): Instruction[] {
  return readText('Dockerfile')
    .replaceAll(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [name = '', ...rest] = line.split(' ');
      return { name, value: rest.join(' ') };
    });
}

const instructions = readDockerfile();

const valuesOf = (name: string): string[] =>
  instructions.filter((instruction) => instruction.name === name).map(({ value }) => value);

describe('the image', () => {
  test('is built on exactly the Node that the repository pins', () => {
    const pinned = readText('.node-version').trim();
    for (const base of valuesOf('FROM')) expect(base).toContain(`node:${pinned}-`);
  });

  test('does not run as root, by number so that Kubernetes can tell', () => {
    expect(valuesOf('USER').at(-1)).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  });

  test('starts without a shell, so that a signal reaches the daemon', () => {
    const started = ['ENTRYPOINT', 'CMD', 'RUN', 'VOLUME'].flatMap(valuesOf);
    expect(started.length).toBeGreaterThan(0);
    for (const value of started) expect(JSON.parse(value)).toBeInstanceOf(Array);
    expect(valuesOf('HEALTHCHECK')).toEqual([expect.stringMatching(/ CMD \[.*\/livez"\]$/)]);
  });

  test('installs what is locked, without tools, optional packages or install scripts', () => {
    const install = valuesOf('RUN').find((value) => value.includes('"npm"')) ?? '';
    expect(JSON.parse(install)).toEqual(
      expect.arrayContaining(['ci', '--omit=dev', '--omit=optional', '--ignore-scripts']),
    );
  });

  test('keeps its data in one volume', () => {
    expect(valuesOf('VOLUME')).toEqual(['["/var/lib/holdfast"]']);
    expect(valuesOf('ENV').join(' ')).toContain('HOLDFAST_DATA_DIR=/var/lib/holdfast');
  });

  test('copies only what the ignore file lets through', () => {
    const ignore = readText('.dockerignore').split('\n');
    const copied = valuesOf('COPY')
      .filter((value) => !value.startsWith('--from'))
      .flatMap((value) => value.split(' ').slice(0, -1));
    expect(copied).toEqual(expect.arrayContaining(['shared', 'control', 'dataplane']));
    for (const path of copied) expect(ignore).toContain(`!${path}`);
  });

  test('holds every program that it and the manifests start', () => {
    for (const path of ['control/main.ts', 'dataplane/main.ts', 'control/cli/main.ts']) {
      expect(existsSync(join(REPOSITORY_ROOT, path)), path).toBe(true);
    }
  });
});

describe('compose', () => {
  const services = Object.entries(readCompose());
  const daemons = services.filter(([, { command }]) => command[0]?.endsWith('/main.ts'));

  test('runs both daemons', () => {
    expect(daemons.map(([name]) => name)).toEqual(['control', 'sidecar']);
  });

  test.for(services)('runs %s as a plain user, from a pinned image', ([, service]) => {
    expect(service.user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    expect(service.read_only).toBe(true);
    expect(service.image).toMatch(/:\d+\.\d+\.\d+$/);
  });

  test.for(daemons)(
    'takes every right from %s, and checks it at its own port',
    ([name, service]) => {
      const port = name === 'control' ? 7480 : 7490;
      expect(service.healthcheck?.test.at(-1)).toBe(`http://127.0.0.1:${port}/livez`);
      expect(service).toMatchObject({
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
      });
    },
  );
});
