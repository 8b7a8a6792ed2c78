/** What `up` was asked for: arguments and the variables of the operator's environment, as the supervisor gets them. */
import { isIP } from 'node:net'
import { listenAddresses } from '@bmm/lib/listen-addresses'
import { AddressFault, parseSqlAddress } from '@bmm/lib/sql-address'
import { z } from 'zod'
import type { CliEnv } from '../config.ts'
import { misused } from '../fault.ts'
import { chosenDriverSchema, driverWish, driverWishSchema } from './driver.ts'

/** Handed to those services that the table in services.ts names. */
const passedVariables = [
  'BMM_LOG_LEVEL',
  'BMM_SMTP_URL',
  'BMM_MAIL_FROM',
  'BMM_TRUSTED_PROXIES',
  'BMM_LISTEN',
  'BMM_METRICS_ADDRESS',
  'BMM_TRACE_CLIENTS',
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'OTEL_TRACES_SAMPLER_ARG',
  'BMM_SANDBOX_IDLE_MS',
  'BMM_ORG_CORES',
  'BMM_ORG_SANDBOXES',
  'BMM_SANDBOX_MEMORY_MB',
  'SSL_CERT_FILE',
  'NODE_EXTRA_CA_CERTS',
]

/** Of the whole machine, and set without a thought of this platform. */
const ambientVariables = ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS']
const startVariables = [
  'BMM_ENV',
  'BMM_PUBLIC_URL',
  'DATABASE_URL',
  'REDIS_URL',
  'RUNNER_DRIVER',
  'BMM_DOCKER_RUNTIME',
  ...passedVariables.filter((name) => !ambientVariables.includes(name)),
]

const stackOptionsSchema = z.object({
  data: z.string(),
  port: z.number().int().min(0).max(65535).optional(),
  mode: z.enum(['development', 'production']),
  publicUrl: z.string().optional(),
  databaseUrl: z.string().optional(),
  redisUrl: z.string().optional(),
  sandboxes: driverWishSchema,
  passed: z.record(z.string(), z.string()),
})
export type StackOptions = z.infer<typeof stackOptionsSchema>

/** What the supervisor gets: the options, and what the machine has said to the wish for a driver. */
export const decidedOptionsSchema = stackOptionsSchema.extend({ chosen: chosenDriverSchema })
export type DecidedOptions = z.infer<typeof decidedOptionsSchema>

/** Throws CommandFault where a variable cannot be meant. */
export function stackOptions(
  asked: { data: string; port: number | undefined },
  env: CliEnv,
): StackOptions {
  const mode = env.BMM_ENV ?? 'development'
  if (mode !== 'development' && mode !== 'production') {
    throw misused('BMM_ENV is neither development nor production.')
  }
  const publicUrl = present(env.BMM_PUBLIC_URL)
  if (publicUrl !== undefined && !isOrigin(publicUrl)) {
    throw misused(
      'BMM_PUBLIC_URL must be an https:// origin without a path, such as https://mcp.example.com.',
    )
  }
  const databaseUrl = present(env.DATABASE_URL)
  if (databaseUrl !== undefined) requireSqlAddress(databaseUrl)
  const redisUrl = present(env.REDIS_URL)
  if (redisUrl !== undefined) requireRedisAddress(redisUrl)
  requireAddresses(present(env.BMM_LISTEN))
  const metrics = present(env.BMM_METRICS_ADDRESS)
  if (metrics !== undefined && !isAddressWithPort(metrics)) {
    throw misused('BMM_METRICS_ADDRESS must be one address and port, such as 127.0.0.1:9464.')
  }
  if (mode === 'production' && !(present(env.BMM_SMTP_URL) && present(env.BMM_MAIL_FROM))) {
    throw misused(
      'BMM_ENV=production needs BMM_SMTP_URL and BMM_MAIL_FROM: it mails sign-in links.',
    )
  }
  const passed = passedVariables.flatMap((name) => {
    const value = present(env[name])
    return value === undefined ? [] : [[name, value]]
  })
  return stackOptionsSchema.parse({
    ...asked,
    mode,
    publicUrl,
    databaseUrl,
    redisUrl,
    sandboxes: driverWish(env),
    passed: Object.fromEntries(passed),
  })
}

/** The settings of this environment that only a start reads. */
export function givenSettings(env: CliEnv): string[] {
  return startVariables.filter((name) => present(env[name]) !== undefined)
}

/** Whether a text can be a public URL: an https origin and nothing more. */
export function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).protocol === 'https:' && new URL(text).origin === text
}

function requireSqlAddress(text: string): void {
  try {
    parseSqlAddress(text)
  } catch (error) {
    if (error instanceof AddressFault) throw misused(`DATABASE_URL ${error.message}.`)
    throw error
  }
}

function requireAddresses(list: string | undefined): void {
  try {
    listenAddresses(list)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw misused(
      `BMM_LISTEN: ${error.message}. It takes addresses of this machine, parted by commas, such as 10.0.0.5 or 0.0.0.0.`,
    )
  }
}

function requireRedisAddress(text: string): void {
  const url = URL.parse(text)
  if (url === null || !['redis:', 'rediss:', 'unix:'].includes(url.protocol)) {
    throw misused('REDIS_URL must be an address such as redis://:password@host:6379.')
  }
  if (url.protocol !== 'unix:' && !/^\/?\d*$/.test(url.pathname)) {
    throw misused(
      'REDIS_URL must end with the port or the number of a database, such as redis://:password@host:6379/1.',
    )
  }
}

/** What the broker can keep its servers away from; the gateway reads it closely. */
function isAddressWithPort(text: string): boolean {
  const [, v4, v6] = /^(?:([\d.]+)|\[([\da-f:.]+)\]):\d{1,5}$/i.exec(text) ?? []
  return isIP(v4 ?? v6 ?? '') !== 0
}

function present(value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}
