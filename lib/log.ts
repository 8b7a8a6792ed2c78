/** JSON logs on standard output, with the names of secrets redacted wherever they might slip in. */
import pino from 'pino'

export type Log = pino.Logger
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

const secretKeys = [
  'authorization',
  'cookie',
  'token',
  'password',
  'secret',
  'value',
  'code',
  'refresh_token',
]

const MAX_CAUSES = 3

/** A logger whose lines carry the service's name and RFC 3339 times. */
export function createLog(service: string, level: LogLevel = 'info'): Log {
  return pino({
    level,
    base: { service },
    timestamp: () => `,"at":"${new Date().toISOString()}"`,
    messageKey: 'message',
    serializers: { err: (thrown: unknown) => described(thrown, MAX_CAUSES) },
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
      censor: '[redacted]',
    },
  })
}

/** What of an error belongs into a log. Its other properties may be whole descriptors and circular. */
function described(thrown: unknown, causes: number): object | string {
  if (!(thrown instanceof Error)) return String(thrown)
  const { name, message, stack, cause } = thrown
  const deeper = causes === 0 || cause === undefined ? {} : { cause: described(cause, causes - 1) }
  return { type: name, message, stack, ...deeper }
}
