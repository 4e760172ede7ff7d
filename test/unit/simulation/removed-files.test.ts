/**
 * A file that is removed for good stays away over a power cut. The mark of an activation that had ended
 * well came back after one, twice, and a good revision was refused for it (I11; seed 7 of the
 * simulation).
 */
import { beginAnew } from '../../simulation/engine/determinism.ts';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { BundleShelf } from '../../../dataplane/authority/bundle-shelf.ts';
import { FakeRandom } from '../../fakes/fake-random.ts';
import { Disk } from '../../simulation/engine/disk.ts';

const root = mkdtempSync(join(tmpdir(), 'holdfast-removed-'));
afterEach(() => rmSync(root, { recursive: true, force: true }));

test('I11: an activation that ended well is no death after a power cut', () => {
  beginAnew();
  const disk = new Disk(root);
  const shelfOf = (): BundleShelf => {
    const directory = join(disk.directory, 'authority');
    mkdirSync(directory, { recursive: true });
    return new BundleShelf(directory);
  };
  const mark = { policyRevision: 2, policyDigest: 'a', deaths: 0, underWay: true };
  const shelf = shelfOf();
  shelf.write({ generations: [], highWater: null, rejected: null });
  shelf.writeMarks([mark]);
  disk.powerLost(new FakeRandom(1));
  expect(shelfOf().readMarks()).toEqual([mark]);
  shelfOf().writeMarks([mark]);
  shelfOf().writeMarks([]);
  for (let seed = 1; seed <= 4; seed += 1) {
    disk.powerLost(new FakeRandom(seed));
    expect(shelfOf().readMarks()).toEqual([]);
  }
  disk.dispose();
});
