/**
 * Preloaded into a process of the simulator (`--import`) that is to have one bug: puts the text of the
 * mutant named by `HOLDFAST_MUTANT` in the place of what is on disk.
 *
 * The checkers, and what they import, are loaded beside it from an address of their own, as they are
 * on disk: whoever is wrong must not judge itself.
 */
import { registerHooks } from 'node:module';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { mutantNamed } from './index.ts';
import { mutated } from './mutant.ts';

const ROOT = pathToFileURL(`${join(import.meta.dirname, '..', '..', '..')}/`).href;
const CHECKERS = `${ROOT}test/simulation/checkers/`;
const MINE = '?judge';
const OF_THE_DAEMONS = ['shared/', 'control/', 'dataplane/'].map((folder) => ROOT + folder);

const name = process.env['HOLDFAST_MUTANT'] ?? '';
const mutant = mutantNamed(name);
if (mutant === null) throw new Error(`HOLDFAST_MUTANT is "${name}": there is no such mutant`);
const target = ROOT + mutant.file;

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    const parent = context.parentURL ?? '';
    const isJudge = parent.startsWith(CHECKERS) || parent.endsWith(MINE);
    const isDaemon = OF_THE_DAEMONS.some((folder) => resolved.url.startsWith(folder));
    return isJudge && isDaemon ? { ...resolved, url: `${resolved.url}${MINE}` } : resolved;
  },
  load(url, context, next) {
    const loaded = next(url, context);
    if (url !== target || loaded.source === undefined || loaded.source === null) return loaded;
    const source = Buffer.from(loaded.source as Uint8Array | string).toString('utf8');
    return { ...loaded, source: mutated(mutant, source) };
  },
});
