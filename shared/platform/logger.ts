import { pino, type DestinationStream, type Logger as PinoLogger } from 'pino';
import { spanIdOf, traceIdOf } from '../core/trace-context.ts';
import { LOG_EVENTS } from './log-events.ts';
import { CENSORED, REDACTED_PATHS, censorCredentials } from './log-redaction.ts';
import { currentTrace } from './tracing.ts';

export type Logger = PinoLogger;
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

const EVENT_BY_MESSAGE: ReadonlyMap<unknown, string> = new Map(
  Object.entries(LOG_EVENTS).map(([event, message]) => [message, event]),
);

/** JSON lines on standard output: constant `msg` and its `event`, facts in fields, ISO time. */
export function createLogger(options: {
  name: string;
  level: LogLevel;
  destination?: DestinationStream;
}): Logger {
  return pino(
    {
      name: options.name,
      level: options.level,
      timestamp: pino.stdTimeFunctions.isoTime,
      base: { daemon: options.name },
      redact: { paths: [...REDACTED_PATHS], censor: CENSORED },
      formatters: { level: (label) => ({ level: label }) },
      mixin: traceFields,
      hooks: { logMethod: withEvent, streamWrite: censorCredentials },
    },
    options.destination ?? pino.destination({ dest: 1, sync: true }),
  );
}

/** Of what is going on around the line; a request's own logger says it already. */
function traceFields(_facts: object, _level: number, logger: PinoLogger): object {
  const trace = currentTrace();
  if (trace === null || 'trace_id' in logger.bindings()) return {};
  return { trace_id: traceIdOf(trace), span_id: spanIdOf(trace) };
}

type Said = Parameters<
  NonNullable<NonNullable<Parameters<typeof pino>[0]>['hooks']>['logMethod'] & {}
>;

/** The id of the sentence, as a field before the facts. */
function withEvent(this: PinoLogger, ...[said, log]: Said): void {
  const [first, second] = said as unknown[];
  const hasFacts = typeof first === 'object' && first !== null && !(first instanceof Error);
  const message = hasFacts ? second : first;
  const event = EVENT_BY_MESSAGE.get(message);
  if (event === undefined) log.apply(this, said);
  else if (hasFacts) log.apply(this, [{ event, ...first }, String(message)]);
  else log.apply(this, [{ event }, String(message)]);
}
