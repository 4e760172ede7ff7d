/**
 * What the writer counts of an outage and the reader lists of it, in one place: a count that means
 * something else than its list is worse than none.
 *
 * `:opened` and `:before` are the entries between which the outage lies. Each condition is looked up
 * for one operation in an index, so that it costs what has befallen that operation, and not what
 * the journal has.
 */

/** What tells that work went on. */
const ADVANCING =
  "('attempt_started', 'effect_begun', 'effect_settled', 'checkpoint_saved', 'succeeded', 'failed')";
/** As the index of them has it. */
export const STOPPING = "('paused', 'cancelled', 'expired')";

export const ADVANCING_KINDS: ReadonlySet<string> = new Set(ADVANCING.match(/[a-z_]+/g));
export const STOPPING_KINDS: ReadonlySet<string> = new Set(STOPPING.match(/[a-z_]+/g));

/** Of a row of `operation_records`: accepted before it, and not ended when it began. */
export const UNFINISHED_THEN = `seq < :opened AND (settled_seq IS NULL OR settled_seq > :opened)
  AND NOT EXISTS (SELECT 1 FROM events AS earlier INDEXED BY events_by_operation
    WHERE earlier.operation_id = operation_records.operation_id AND earlier.seq < :opened
    AND earlier.kind = 'unknown')`;

/** Of a row of `operation_records`: got on between the two. */
export const ADVANCED = `EXISTS (SELECT 1 FROM events AS later INDEXED BY events_by_operation
  WHERE later.operation_id = operation_records.operation_id
  AND later.seq > :opened AND later.seq < :before AND later.kind IN ${ADVANCING})`;

/** Of a row of `events`: no entry between the two has stopped its operation before. */
export const STOPPED_FIRST = `NOT EXISTS (
  SELECT 1 FROM events AS earlier INDEXED BY events_by_operation
  WHERE earlier.operation_id = events.operation_id
  AND earlier.seq > :opened AND earlier.seq < events.seq AND earlier.kind IN ${STOPPING})`;
