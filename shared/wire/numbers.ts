/**
 * Whole numbers on the wire, all with bounds: what is over the largest safe integer is another
 * number once JSON or SQLite has held it.
 */
import Type from 'typebox';

type Options = { readonly description?: string; readonly minimum?: number };

const maximum = Number.MAX_SAFE_INTEGER;

/** Of things, positions and revisions; and durations that cannot be negative. */
export const count = (options: Options = {}) => Type.Integer({ minimum: 0, maximum, ...options });

/** A fencing token, or the epoch of a host; 0 before the first. */
export const epoch = (options: Options = {}) => count(options);

export const wallMs = (options: Options = {}) =>
  count({ description: 'milliseconds since 1970, wall clock', ...options });

/** What is left of a duration: below zero when it is over. */
export const leftMs = (options: Options = {}) =>
  Type.Integer({ minimum: -maximum, maximum, ...options });
