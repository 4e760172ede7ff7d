/** The command in this process: what it prints, and how it ends. */
import { runCommand } from '../../control/cli/program.ts';

export type Finished = { readonly exitCode: number; readonly out: string; readonly err: string };

export async function runQuietly(
  argv: string[],
  { cwd, env }: { readonly cwd: string; readonly env: Record<string, string> },
): Promise<Finished> {
  const printed = { out: '', err: '' };
  const stream = (key: 'out' | 'err') => ({
    isTTY: false,
    write: (text: string) => {
      printed[key] += text;
      return true;
    },
  });
  const exitCode = await runCommand({
    argv,
    env,
    cwd,
    stdout: stream('out'),
    stderr: stream('err'),
  });
  return { exitCode, ...printed };
}
