/** Reading configuration: every fault at once, secrets from files or file descriptors. */
import { closeSync, readFileSync } from 'node:fs'
import { z } from 'zod'

export type Env = Readonly<Record<string, string | undefined>>

/** Bad configuration; the message lists every fault, one a line, without any value. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/** How the message of bad configuration begins. */
export const CONFIG_FAULT = 'The configuration has'

/** EX_CONFIG of sysexits.h: to start again would not help. */
export const CONFIG_EXIT_CODE = 78

/** What `read` answers. Bad configuration is told on standard error, as it is and without a stack, and ends the process. */
export function configOrExit<Config>(read: () => Config): Config {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(CONFIG_EXIT_CODE)
  }
}

/** The variables that every service reads. */
export const serviceEnv = {
  BMM_ENV: z.enum(['development', 'production']),
  BMM_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  /** The folder that holds `{service}/rpc.sock`. */
  BMM_RPC_DIR: z.string().startsWith('/'),
  /** This service's Ed25519 key: PKCS #8 PEM, as a path or `fd:N`. */
  BMM_SERVICE_KEY: z.string().min(1),
  /** JSON file: service name → SubjectPublicKeyInfo, DER in base64. */
  BMM_SERVICE_PUBLIC_KEYS: z.string().startsWith('/'),
}

/** The origin that people reach. Plain http is for this machine only: elsewhere tokens would travel in clear. */
export const publicUrlSchema = z.string().refine((value) => {
  if (!URL.canParse(value)) return false
  const url = new URL(value)
  const local = url.protocol === 'http:' && url.hostname === 'localhost'
  return url.origin === value && (url.protocol === 'https:' || local)
}, 'must be an https origin without a path, or http://localhost:PORT')

const collectorRule = 'must be an http or https address without a password or a query'

const headersRule =
  'must be NAME=VALUE, parted by commas, each name once, and in a value %2C for a comma and %25 for %'
const MAX_HEADERS_CHARACTERS = 8_192
/** What the body and the connection decide. */
const ownHeaders = new Set([
  ...['content-type', 'content-length', 'content-encoding', 'transfer-encoding'],
  ...['host', 'connection', 'upgrade', 'te', 'trailer', 'expect'],
])

const listenerPattern = /^(\[[0-9a-f:.]+\]|[^\s:[\]]+):\d{1,5}$/i

/** `HOST:PORT,…` of the platform itself: nobody's request reaches it, whatever the operator allows. */
export const ownListenersSchema = z
  .string()
  .transform((text) => text.toLowerCase().split(','))
  .pipe(z.array(z.string().regex(listenerPattern, 'is not HOST:PORT')))

/** The variables of services that trace calls, by their OpenTelemetry names. */
export const tracingEnv = {
  /** Base address of a collector for OTLP over HTTP; nothing is traced without one. */
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().refine(isCollector, collectorRule).optional(),
  /** What the collector wants to be told with each post, such as a key: NAME=VALUE, parted by commas. */
  OTEL_EXPORTER_OTLP_HEADERS: z
    .string()
    .refine((text) => headersIn(text) !== undefined, headersRule)
    .optional(),
  /** Which share of the calls is traced. */
  OTEL_TRACES_SAMPLER_ARG: z.coerce.number().min(0).max(1).default(1),
}

/** Undefined where nothing is to be traced. */
export function tracingConfig(
  vars: z.infer<z.ZodObject<typeof tracingEnv>>,
): { url: string; ratio: number; headers: Record<string, string> } | undefined {
  const endpoint = vars.OTEL_EXPORTER_OTLP_ENDPOINT
  if (endpoint === undefined) return undefined
  return {
    url: `${endpoint.replace(/\/+$/, '')}/v1/traces`,
    ratio: vars.OTEL_TRACES_SAMPLER_ARG,
    headers: headersIn(vars.OTEL_EXPORTER_OTLP_HEADERS ?? '') ?? {},
  }
}

/** By lower-case name, the values percent-decoded; undefined where one of them cannot be sent, or is not ours to set. */
function headersIn(text: string): Record<string, string> | undefined {
  const members = text.split(',').filter((member) => member.trim() !== '')
  const headers = new Map<string, string>()
  for (const member of members) {
    const [, name = '', encoded = ''] = /^\s*([!#$%&'*+.^`|~\w-]+)\s*=(.*)$/.exec(member) ?? []
    const value = percentDecoded(encoded.trim())
    const isSendable = value !== undefined && /^[\t -~]*$/.test(value)
    if (name === '' || !isSendable || ownHeaders.has(name.toLowerCase())) return undefined
    headers.set(name.toLowerCase(), value)
  }
  const isBounded = text.length <= MAX_HEADERS_CHARACTERS && headers.size === members.length
  return isBounded ? Object.fromEntries(headers) : undefined
}

function percentDecoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

function isCollector(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) return false
  return url.username === '' && url.password === '' && url.search === '' && url.hash === ''
}

/** What every service makes of its variables; throws ConfigError when a key cannot be read. */
export function serviceConfig(vars: z.infer<z.ZodObject<typeof serviceEnv>>) {
  return {
    logLevel: vars.BMM_LOG_LEVEL,
    rpcDir: vars.BMM_RPC_DIR,
    privateKeyPem: readSecretSource(vars.BMM_SERVICE_KEY, 'BMM_SERVICE_KEY').toString('utf8'),
    publicKeys: readSecretSource(vars.BMM_SERVICE_PUBLIC_KEYS, 'BMM_SERVICE_PUBLIC_KEYS').toString(
      'utf8',
    ),
  }
}

/** Parses the environment; throws one ConfigError that names every variable at fault. */
export function readEnv<Shape extends z.ZodRawShape>(
  shape: Shape,
  env: Env,
): z.infer<z.ZodObject<Shape>> {
  const parsed = z.object(shape).safeParse(env)
  if (parsed.success) return parsed.data
  const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${told(issue)}`)
  throw configError(faults)
}

/** For what is wrong with a variable, seen when it was used; the sentence must not hold its value. */
export function settingFault(name: string, sentence: string): ConfigError {
  return configError([`${name}: ${sentence}`])
}

function configError(faults: readonly string[]): ConfigError {
  const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`
  return new ConfigError(`${CONFIG_FAULT} ${count}:\n${faults.join('\n')}`)
}

/** What a variable should be, in the words of whoever sets it. */
function told(issue: z.core.$ZodIssue): string {
  if (issue.message.endsWith('received undefined')) return 'is not set'
  if (issue.code === 'invalid_type' && issue.expected === 'int') return 'must be a whole number'
  if (issue.code === 'invalid_type' && issue.expected === 'number') return 'must be a number'
  if (issue.code === 'invalid_value') return `must be one of ${issue.values.join(', ')}`
  if (issue.code === 'too_small' && issue.origin !== 'string') {
    return `must be ${issue.minimum} or more`
  }
  if (issue.code === 'too_big' && issue.origin !== 'string') {
    return `must be ${issue.maximum} or less`
  }
  return issue.message
}

/**
 * The bytes behind `fd:N` or a path. A descriptor is read to its end and closed, so that the secret
 * is nowhere in the environment, the arguments or a file that the service's user could open.
 */
export function readSecretSource(source: string, name: string): Buffer {
  const descriptor = /^fd:(\d{1,4})$/.exec(source)?.[1]
  try {
    if (descriptor === undefined) return readFileSync(source)
    const bytes = readFileSync(Number(descriptor))
    closeSync(Number(descriptor))
    return bytes
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
    throw settingFault(name, `cannot read its source (${code}); give a readable path or fd:N`)
  }
}

/** A variable that `./bmm test` sets for the tests; throws with what to do when it is missing. */
export function readTestEnv(
  name: 'BMM_TEST_DATABASE_URL' | 'BMM_TEST_REDIS_URL' | 'BMM_TEST_DOCKER_SOCKET',
): string {
  const value = process.env[name]
  if (value === undefined) throw new ConfigError(`${name} is not set: run the tests by ./bmm test`)
  return value
}

/** The socket of the Docker engine that `./bmm test` has found or started; undefined when a test file is run by itself. */
export function testDockerSocket(env: Env = process.env): string | undefined {
  return env.BMM_TEST_DOCKER_SOCKET
}
