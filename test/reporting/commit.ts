/** What a report was made of, so that it can be made again. */
import { execFileSync } from 'node:child_process';

export function commit(): string {
  try {
    const revision = git('rev-parse', '--short', 'HEAD');
    const isChanged = git('status', '--porcelain', '--untracked-files=no') !== '';
    return isChanged ? `${revision} and changes to it` : revision;
  } catch {
    return 'unknown';
  }
}

function git(...args: readonly string[]): string {
  const options = { cwd: import.meta.dirname, encoding: 'utf8' } as const;
  return execFileSync('git', args, { ...options, stdio: ['ignore', 'pipe', 'ignore'] }).trim();
}
