/**
 * Loaded before a daemon that is fuzzed: on SIGWINCH, which no daemon listens to, it collects all
 * garbage and writes what is left to a file. What is asked for in the environment is taken out of it: a
 * daemon knows its settings only.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const { FUZZ_HEAP_FILE: path } = process.env;
delete process.env['FUZZ_HEAP_FILE'];

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

if (path !== undefined) {
  process.on('SIGWINCH', () => {
    // What the first one sets free may be waited for by finalizers.
    for (let times = 0; times < 3; times += 1) collect();
    const { heapUsed, rss, external } = process.memoryUsage();
    writeFileSync(`${path}.new`, JSON.stringify({ heapUsed, rss, external }));
    renameSync(`${path}.new`, path);
  });
}
