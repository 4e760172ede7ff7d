/**
 * The floors of `core/floors.ts` on disk, beside the database and not in it: a copy of the database
 * that is put back does not take them along.
 *
 * `raise` is on disk before it returns. `mark` need not be: it only tells an older copy of the
 * database from the newest one, and does so after any crash of the process; power loss can take the
 * last marks away.
 */
import { join } from 'node:path';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { readFileIfAny, writeDurableFile } from '../../shared/platform/durable-file.ts';
import { StoreError } from '../../shared/platform/sqlite.ts';
import { writeFileSync } from 'node:fs';
import type { Floor, Remembered } from '../core/floors.ts';

export interface FloorStore {
  read(): Remembered;
  raise(floor: Floor): void;
  mark(epoch: number): void;
}

const count = Type.Integer({ minimum: 0 });
const FloorSchema = Type.Object({
  run: count,
  epoch: count,
  policyRevision: count,
  // Not in the files of earlier versions, nor in what an operator is told to write.
  noticeSequence: Type.Optional(count),
  disownedEpoch: Type.Optional(count),
  recovering: Type.Optional(Type.Enum(['no', 'leases', 'everything'])),
});

export function openFloorFile(directory: string): FloorStore {
  const floorPath = join(directory, 'floor.json');
  const markPath = join(directory, 'epoch-mark');
  return {
    read() {
      const text = readFileIfAny(floorPath);
      // A mark that cannot be read is one that a power loss cut off: it proves nothing.
      const marked = Number(readFileIfAny(markPath) ?? '0');
      return {
        floor: text === null ? null : parseFloor(text, floorPath),
        markedEpoch: Number.isSafeInteger(marked) ? marked : 0,
      };
    },
    raise: (floor) => writeDurableFile(floorPath, `${JSON.stringify(floor)}\n`),
    mark: (epoch) => writeFileSync(markPath, `${epoch}\n`, { mode: 0o600 }),
  };
}

function parseFloor(text: string, path: string): Floor {
  try {
    const value: unknown = JSON.parse(text);
    if (Value.Check(FloorSchema, value))
      return { noticeSequence: 0, disownedEpoch: 0, recovering: 'no', ...value };
  } catch {
    // Falls through to the same refusal: it was replaced whole, so half a file is damage.
  }
  throw new StoreError(
    'corrupt',
    `${path} is damaged, and it keeps fencing tokens from being given twice: replace it by ` +
      '{"run":0,"epoch":N,"policyRevision":N} with numbers above any that a host has seen',
  );
}
