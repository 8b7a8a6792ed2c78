/** The one table of the stack's own processes: what each is given, and what must be ready before it starts. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { listenAddresses, listenerName } from '@bmm/lib/listen-addresses'
import { z } from 'zod'
import { checkout } from '../config.ts'
import type { ChildSpec } from './child.ts'
import { ahead, confined, dyingWithParent } from './confine.ts'
import type { ChosenDriver, DriverWish } from './driver.ts'
import { kekFile, keyFile } from './keys.ts'
import type { StackPaths } from './paths.ts'
import type { ProcessUser, UserIds } from './user-ids.ts'

const READY_TIMEOUT_MS = 60_000
const HEALTH_TIMEOUT_MS = 2_500
const STOP_TIMEOUT_MS = 12_000
const SLOTS = 64
const POOL_SIZE = 4
/** Bun's `fetch` hangs past 256 requests at a time unless told otherwise. */
const MAX_HTTP_REQUESTS = '20000'

export type ServiceName =
  | 'auth'
  | 'secrets'
  | 'generator'
  | 'keeper'
  | 'runner'
  | 'broker'
  | 'gateway'

/** What the table's entries are filled with. */
export type StackFacts = {
  paths: StackPaths
  users: UserIds
  port: number
  grpcPort: number
  publicUrl: string
  /** Origins of the platform before it moved. */
  formerUrls: readonly string[]
  mode: 'development' | 'production'
  /** Folder of development mail; undefined when mail is really sent. */
  mailbox: string | undefined
  databaseUrls: ReadonlyMap<string, string>
  redisUrl: string
  sandboxes: DriverWish & Pick<ChosenDriver, 'driver'>
  /** Variables of the operator's environment that are handed through. */
  passed: Readonly<Record<string, string>>
}

type Service = {
  name: ServiceName
  main: string
  after: ServiceName[]
  /** Its own Postgres schema and role. */
  schema?: string
  redis?: boolean
  /** What it reads from descriptors 4 and up; descriptor 3 is its service key. */
  files?: (paths: StackPaths) => string[]
  env?: (facts: StackFacts) => Record<string, string>
  /** Whether every call waits for it. */
  ahead?: boolean
  /** Variables of the operator that are meant for it. */
  passes?: string[]
}

/**
 * For the two that carry every call: the allocator otherwise gives the free parts of pages in use back to the kernel each
 * 100 ms, only to have them faulted in again by the next calls.
 */
const keepFreeMemory = { MIMALLOC_PURGE_HOLES: '0' }

const tracing = [
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'OTEL_TRACES_SAMPLER_ARG',
]

export const services: readonly Service[] = [
  {
    name: 'secrets',
    main: 'services/secrets/main.ts',
    after: [],
    schema: 'secrets',
    files: (paths) => [kekFile(paths.keys, 'secrets')],
    env: () => ({ BMM_KEK: 'fd:4' }),
  },
  {
    name: 'auth',
    main: 'services/auth/main.ts',
    after: [],
    schema: 'auth',
    redis: true,
    files: (paths) => [keyFile(paths.keys, 'auth-user'), kekFile(paths.keys, 'auth')],
    env: ({ mailbox }) => ({
      BMM_USER_TOKEN_KEY: 'fd:4',
      BMM_AUTH_KEK: 'fd:5',
      ...(mailbox === undefined ? {} : { BMM_MAILBOX_DIR: mailbox }),
    }),
    passes: ['BMM_SMTP_URL', 'BMM_MAIL_FROM'],
  },
  {
    name: 'keeper',
    main: 'services/runner/keeper/main.ts',
    after: [],
    env: (facts) => ({
      BMM_DRIVER: facts.sandboxes.driver,
      BMM_DOCKER_SOCKET: facts.sandboxes.dockerSocket,
      ...(facts.sandboxes.dockerRuntime === undefined
        ? {}
        : { BMM_DOCKER_RUNTIME: facts.sandboxes.dockerRuntime }),
      BMM_KEEPER_SOCKET: facts.paths.keeperSocket,
      BMM_SLOTS_DIR: facts.paths.slots,
      BMM_SLOTS: String(SLOTS),
      BMM_SLOT_UID_BASE: String(facts.users.slots),
      BMM_RUNNER_UID: String(facts.users.of('runner')),
      BMM_BROKER_UID: String(facts.users.of('broker')),
      BMM_ROOTFS: join(facts.paths.state, 'rootfs'),
      BMM_CGROUP: facts.paths.cgroup,
    }),
    passes: ['BMM_ORG_CORES'],
  },
  {
    name: 'generator',
    main: 'services/generator/main.ts',
    after: ['secrets'],
    schema: 'generator',
    redis: true,
    env: (facts) => ({
      BMM_OWN_LISTENERS: ownListeners(facts),
      BMM_CHILD_PROGRAMS: facts.paths.programs,
    }),
  },
  {
    name: 'runner',
    ahead: true,
    main: 'services/runner/main.ts',
    after: ['keeper', 'secrets'],
    schema: 'runner',
    env: ({ paths }) => ({
      ...keepFreeMemory,
      BMM_KEEPER_SOCKET: paths.keeperSocket,
      BMM_SLOTS_DIR: paths.slots,
      BMM_SLOTS: String(SLOTS),
      BMM_POOL_SIZE: String(POOL_SIZE),
    }),
    passes: ['BMM_SANDBOX_IDLE_MS', 'BMM_ORG_SANDBOXES', 'BMM_SANDBOX_MEMORY_MB', ...tracing],
  },
  {
    name: 'broker',
    main: 'services/runner/broker/main.ts',
    after: ['keeper', 'secrets'],
    schema: 'broker',
    env: (facts) => ({
      BMM_SLOTS_DIR: facts.paths.slots,
      BMM_SLOTS: String(SLOTS),
      BMM_OWN_LISTENERS: ownListeners(facts),
    }),
    passes: tracing,
  },
  {
    name: 'gateway',
    ahead: true,
    main: 'services/gateway/main.ts',
    after: ['auth', 'generator', 'runner', 'broker'],
    redis: true,
    env: ({ port, grpcPort, mailbox, formerUrls }) => ({
      ...keepFreeMemory,
      BMM_PORT: String(port),
      BMM_GRPC_PORT: String(grpcPort),
      BMM_FORMER_URLS: formerUrls.join(','),
      ...(mailbox === undefined ? {} : { BMM_MAILBOX_DIR: mailbox }),
    }),
    passes: [
      'BMM_TRUSTED_PROXIES',
      'BMM_LISTEN',
      'BMM_METRICS_ADDRESS',
      'BMM_TRACE_CLIENTS',
      ...tracing,
    ],
  },
]

/** Schemas that Postgres must have: each with a role of its own. */
export function schemaNames(): string[] {
  return services.flatMap((service) => service.schema ?? [])
}

/** How to run one service. */
export function serviceSpec(service: Service, facts: StackFacts): ChildSpec {
  const { paths, users } = facts
  const files = [keyFile(paths.keys, service.name), ...(service.files?.(paths) ?? [])]
  const shared = {
    name: service.name,
    env: serviceEnv(service, facts),
    files,
    readyTimeoutMs: READY_TIMEOUT_MS,
    stopSignal: 'SIGTERM',
    stopTimeoutMs: STOP_TIMEOUT_MS,
  } as const
  if (service.name === 'keeper') {
    return {
      ...shared,
      command: dyingWithParent(bun(process.execPath, join(checkout, service.main))),
      cwd: checkout,
      fault: async () => (existsSync(paths.keeperSocket) ? undefined : 'no socket yet'),
    }
  }
  const socket = join(paths.rpc, service.name, 'rpc.sock')
  const app = seenCheckout(paths)
  const program = join(paths.run, 'bun')
  const command = confined(bun(program, join(app, service.main)), {
    user: users.of(service.name satisfies ProcessUser),
    group: users.group,
    binds: [
      { from: checkout, to: app },
      { from: process.execPath, to: program },
    ],
  })
  return {
    ...shared,
    command: service.ahead === true ? ahead(command) : command,
    // The mount happens after the start: its mount point is no place to be yet.
    cwd: '/',
    fault: () => healthFault(socket),
  }
}

/** Where services see the checkout. */
export function seenCheckout(paths: StackPaths): string {
  return join(paths.run, 'app')
}

/** The gateway, by its addresses here and by the name that people reach; and where it gives out metrics. */
export function ownListeners({
  port,
  grpcPort,
  publicUrl,
  passed,
}: Pick<StackFacts, 'port' | 'grpcPort' | 'publicUrl' | 'passed'>): string {
  const { protocol, hostname, port: publicPort } = new URL(publicUrl)
  const reached = `${hostname}:${publicPort || (protocol === 'https:' ? '443' : '80')}`
  const named = listenAddresses(passed.BMM_LISTEN).map(({ hostname }) => hostname)
  const hosts = ['localhost', '127.0.0.1', '::1', ...named].flatMap((host) =>
    [port, grpcPort].map((each) => listenerName(host, each)),
  )
  const metrics = passed.BMM_METRICS_ADDRESS
  const metricsHosts =
    metrics === undefined
      ? []
      : [metrics, `localhost:${metrics.slice(metrics.lastIndexOf(':') + 1)}`]
  return [...new Set([...hosts, reached, ...metricsHosts])].join(',')
}

function bun(program: string, main: string): string[] {
  return [
    program,
    '--no-env-file',
    '--no-install',
    `--cwd=${main.slice(0, main.indexOf('/services/'))}`,
    main,
  ]
}

function serviceEnv(service: Service, facts: StackFacts): Record<string, string> {
  const { paths, databaseUrls, passed } = facts
  const databaseUrl = service.schema === undefined ? undefined : databaseUrls.get(service.schema)
  const own = ['BMM_LOG_LEVEL', 'SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', ...(service.passes ?? [])]
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    TZ: 'UTC',
    BUN_CONFIG_MAX_HTTP_REQUESTS: MAX_HTTP_REQUESTS,
    BUN_RUNTIME_TRANSPILER_CACHE_PATH: '0',
    BMM_ENV: facts.mode,
    BMM_PUBLIC_URL: facts.publicUrl,
    BMM_RPC_DIR: paths.rpc,
    BMM_SERVICE_KEY: 'fd:3',
    BMM_SERVICE_PUBLIC_KEYS: paths.publicKeys,
    ...(databaseUrl === undefined ? {} : { BMM_DATABASE_URL: databaseUrl }),
    ...(service.redis === true ? { BMM_REDIS_URL: facts.redisUrl } : {}),
    ...service.env?.(facts),
    ...Object.fromEntries(
      own.flatMap((name) => (passed[name] === undefined ? [] : [[name, passed[name]]])),
    ),
  }
}

const healthSchema = z.object({ fault: z.string() })

/** What the service says about itself; undefined when it can do its work. */
async function healthFault(socket: string): Promise<string | undefined> {
  try {
    const answer = await fetch('http://localhost/health', {
      unix: socket,
      keepalive: false,
      signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS),
    })
    const body: unknown = await answer.json()
    if (answer.status === 200) return undefined
    const said = healthSchema.safeParse(body)
    return said.success ? said.data.fault : `health answers ${answer.status}`
  } catch {
    return 'it does not answer'
  }
}
