import { pino, type DestinationStream, type Logger as PinoLogger } from 'pino';

export type Logger = PinoLogger;
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** Never logged, wherever they stand. */
const REDACTED = [
  'token',
  'joinToken',
  'secret',
  'privateKey',
  '*.token',
  '*.joinToken',
  '*.secret',
  '*.privateKey',
  'req.headers.authorization',
  'headers.authorization',
];

/** JSON lines on standard output: constant `msg`, facts in fields, ISO time. */
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
      redact: { paths: REDACTED, censor: '[redacted]' },
      formatters: { level: (label) => ({ level: label }) },
    },
    options.destination ?? pino.destination({ dest: 1, sync: true }),
  );
}
