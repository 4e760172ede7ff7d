/**
 * Preloaded into the daemons that `holdfast dev` starts. They run apart from the terminal's process
 * group, so that Ctrl-C reaches the supervisor alone; this keeps them from outliving a supervisor
 * that was killed: its end of their standard input closes, and they stop as if asked to.
 */
import { isMainThread } from 'node:worker_threads';

// Preloads run in worker threads too, where standard input ends at once and means nothing.
if (isMainThread) {
  process.stdin.once('close', () => process.kill(process.pid, 'SIGTERM'));
  process.stdin.on('error', () => process.stdin.destroy());
  process.stdin.resume();
  // It must not keep the daemon alive by itself.
  (process.stdin as Partial<Pick<NodeJS.ReadStream, 'unref'>>).unref?.();
}
