/** JSON logs on standard output, with the names of secrets redacted wherever they might slip in. */
import { writeSync } from 'node:fs'
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
const STANDARD_OUTPUT = 1

/** A logger whose lines carry the service's name and RFC 3339 times. */
export function createLog(service: string, level: LogLevel = 'info'): Log {
  const options: pino.LoggerOptions = {
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
  }
  return pino(options, { write: writeLine })
}

let lostLines = 0

/** A disk that is full costs lines and not the process; how many is said once there is room again. */
function writeLine(line: string): void {
  try {
    if (lostLines > 0) {
      writeSync(STANDARD_OUTPUT, `\n${JSON.stringify({ level: 'warn', lostLines })}\n`)
      lostLines = 0
    }
    writeSync(STANDARD_OUTPUT, line)
  } catch {
    lostLines++
  }
}

/** What of an error belongs into a log. Its other properties may be whole descriptors and circular. */
function described(thrown: unknown, causes: number): object | string {
  if (!(thrown instanceof Error)) return String(thrown)
  const { name, message, stack, cause } = thrown
  const deeper = causes === 0 || cause === undefined ? {} : { cause: described(cause, causes - 1) }
  return { type: name, message, stack, ...deeper }
}
