import type { Finding, SourceFile } from '../source-tree.ts';
import type { Rule } from './rule.ts';

type Manifest = Record<string, Record<string, string> | undefined>;

type LockedPackage = {
  readonly hasInstallScript?: boolean;
  readonly resolved?: string;
};

const DEPENDENCY_LISTS = ['dependencies', 'devDependencies', 'optionalDependencies'];
const EXACT_PIN = /^(?:npm:(?:@[\w.-]+\/)?[\w.-]+@)?\d+\.\d+\.\d+(?:-[\w.]+)?$/;
const LIFECYCLE_SCRIPTS = [
  'preinstall',
  'install',
  'postinstall',
  'preprepare',
  'prepare',
  'postprepare',
  'prepublish',
  'dependencies',
];
/**
 * macOS only, optional, and pulled in by the test runner; it is never built where Holdfast runs.
 */
const INSTALL_SCRIPT_ALLOWED = /(?:^|\/)node_modules\/fsevents$/;

export const exactPins: Rule = {
  title: 'dependencies are pinned exactly and nothing runs at install',
  check: (files) =>
    files.filter(isManifest).flatMap((file) => {
      const manifest = JSON.parse(file.text) as Manifest;
      const loose = DEPENDENCY_LISTS.flatMap((list) => Object.entries(manifest[list] ?? {}))
        .filter(([, version]) => !EXACT_PIN.test(version))
        .map(([name, version]) =>
          findingAt(file, `"${name}"`, `${name} is "${version}"; pin one exact version`),
        );
      const scripts = Object.keys(manifest['scripts'] ?? {})
        .filter((name) => LIFECYCLE_SCRIPTS.includes(name))
        .map((name) => findingAt(file, `"${name}"`, `script ${name} runs at install; remove it`));
      return [...loose, ...scripts];
    }),
};

export const scriptsThatRun: Rule = {
  title: 'no script waits for a pre or post hook that never comes',
  check: (files) => {
    const settings = files.find(({ path }) => path === '.npmrc')?.text ?? '';
    if (!/^ignore-scripts\s*=\s*true$/m.test(settings)) return [];
    return files.filter(isManifest).flatMap((file) => {
      const scripts = Object.keys((JSON.parse(file.text) as Manifest)['scripts'] ?? {});
      return scripts
        .filter((name) => scripts.some((other) => [`pre${other}`, `post${other}`].includes(name)))
        .map((name) =>
          findingAt(
            file,
            `"${name}"`,
            `${name} never runs, as .npmrc ignores scripts; call it by name`,
          ),
        );
    });
  },
};

export const lockfile: Rule = {
  title: 'the lockfile is version 3, runs no install script and names no registry',
  check: (files) =>
    files
      .filter(({ path }) => path === 'package-lock.json')
      .flatMap((file) => {
        const lock = JSON.parse(file.text) as {
          readonly lockfileVersion: number;
          readonly packages: Record<string, LockedPackage>;
        };
        const findings: Finding[] = [];
        if (lock.lockfileVersion !== 3) {
          findings.push(
            findingAt(file, '"lockfileVersion"', 'lockfileVersion must be 3; use npm 9 or newer'),
          );
        }
        for (const [name, locked] of Object.entries(lock.packages)) {
          if (locked.hasInstallScript === true && !INSTALL_SCRIPT_ALLOWED.test(name)) {
            findings.push(
              findingAt(file, `"${name}"`, `${name} has an install script; choose another package`),
            );
          }
          if (locked.resolved !== undefined) {
            findings.push(
              findingAt(
                file,
                `"${name}"`,
                `${name} names its registry; lock with --omit-lockfile-registry-resolved`,
              ),
            );
          }
        }
        return findings;
      }),
};

export const oneNode: Rule = {
  title: 'every place that names the version of Node names the same one',
  check: (files) => {
    const pinned = files.find(({ path }) => path === '.node-version')?.text.trim();
    const file = files.find(({ path }) => path === 'package.json');
    if (file === undefined) return [];
    if (pinned === undefined)
      return [findingAt(file, '"engines"', 'there is no .node-version; add it')];
    const manifest = JSON.parse(file.text) as Manifest;
    const runtimes = Object.entries(manifest['optionalDependencies'] ?? {})
      .filter(([name, version]) => /^node-\w+-\w+$/.test(name) && version !== pinned)
      .map(([name, version]) =>
        findingAt(
          file,
          `"${name}"`,
          `${name} is ${version} and .node-version says ${pinned}; make them one`,
        ),
      );
    const engines = manifest['engines']?.['node'] ?? '';
    if (!isAtLeast(pinned, engines)) {
      runtimes.push(
        findingAt(file, '"engines"', `engines.node "${engines}" does not admit ${pinned}`),
      );
    }
    return runtimes;
  },
};

function isManifest({ path }: SourceFile): boolean {
  return path === 'package.json' || path.endsWith('/package.json');
}

/** Only the form `>=major.minor` is understood, because only that form is wanted. */
function isAtLeast(version: string, range: string): boolean {
  const least = /^>=(\d+)(?:\.(\d+))?(?:\.(\d+))?$/.exec(range);
  if (least === null) return false;
  const wanted = least.slice(1).map((part) => Number(part ?? 0));
  const given = version.split('.').map(Number);
  const at = wanted.findIndex((part, index) => part !== given[index]);
  return at === -1 || (given[at] ?? 0) > (wanted[at] ?? 0);
}

function findingAt(file: SourceFile, needle: string, message: string): Finding {
  const offset = Math.max(0, file.text.indexOf(needle));
  return { path: file.path, line: file.text.slice(0, offset).split('\n').length, message };
}
