#!/usr/bin/env node
/** The `holdfast` command: arguments and environment in, an exit code out; nothing else. */

// `holdfast op list | head` closes the pipe early, and that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const argv = process.argv.slice(2);
const { runCommand } =
  argv[0] === 'healthcheck' ? await import('./healthcheck.ts') : await import('./program.ts');
process.exitCode = await runCommand({
  argv,
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
});
