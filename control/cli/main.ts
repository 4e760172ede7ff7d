#!/usr/bin/env node
/** The `holdfast` command: arguments and environment in, an exit code out; nothing else. */
import { runCommand } from './program.ts';

// `holdfast op list | head` closes the pipe early, and that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await runCommand({
  argv: process.argv.slice(2),
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
});
