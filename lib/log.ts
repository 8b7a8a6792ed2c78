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

/** A logger whose lines carry the service's name and RFC 3339 times. */
export function createLog(service: string, level: LogLevel = 'info'): Log {
  return pino({
    level,
    base: { service },
    timestamp: () => `,"at":"${new Date().toISOString()}"`,
    messageKey: 'message',
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
      censor: '[redacted]',
    },
  })
}
