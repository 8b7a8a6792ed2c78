/** Starting all processes of a stack in order, and stopping them in the opposite one. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errorFrom } from '@bmm/lib/errors'
import { listenAddresses, listenFault } from '@bmm/lib/listen-addresses'
import { parseSqlAddress } from '@bmm/lib/sql-address'
import { failed } from '../fault.ts'
import { type Child, type ChildEvent, type ChildSpec, keepRunning } from './child.ts'
import { claimPostgres, postgresFault } from './external-postgres.ts'
import { claimRedis } from './external-redis.ts'
import { passwordOf, prepareKeys, stackId } from './keys.ts'
import type { DecidedOptions } from './options.ts'
import type { StackPaths } from './paths.ts'
import { embeddedPostgres, makeDatabase, prepareSchemas } from './postgres.ts'
import { bundlePrograms } from './programs.ts'
import { openPublicUrl } from './public-url.ts'
import { redisStore } from './redis.ts'
import { makeRunFolders } from './run-folders.ts'
import { type StackFacts, schemaNames, seenCheckout, serviceSpec, services } from './services.ts'
import { hasClaimed, keepClaimed, openSettings } from './settings.ts'
import type { UserIds } from './user-ids.ts'

const DATABASE = 'bmm'
const REDIS_DATABASES = 16

export type Stack = {
  facts: StackFacts
  /** Names of the processes' logs. */
  logs: string[]
  stop(): Promise<void>
}

export type StackHooks = {
  progress(line: string): void
  childEvent(event: ChildEvent): void
  /** Aborted when the stack shall stop while it still starts. */
  stopping: AbortSignal
}

/** Starts everything; throws after stopping what it had started when a part does not come up. */
export async function startStack(
  paths: StackPaths,
  users: UserIds,
  options: DecidedOptions,
  hooks: StackHooks,
): Promise<Stack> {
  const children: Child[] = []
  const stop = async () => {
    for (const child of children.toReversed()) await child.stop()
  }
  const run = async (spec: ChildSpec) => {
    const startedAt = performance.now()
    const child = keepRunning(spec, paths.logs, hooks.childEvent)
    children.push(child)
    await child.firstReady
    hooks.progress(`${spec.name} is ready (${Math.round(performance.now() - startedAt)} ms)`)
  }
  const interrupted = rejectOnAbort(hooks.stopping)
  try {
    const facts = await Promise.race([
      interrupted,
      startStores(paths, users, options, run, hooks.progress),
    ])
    await Promise.race([interrupted, startServices(facts, run)])
    return { facts, logs: children.map((child) => child.name), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startStores(
  paths: StackPaths,
  users: UserIds,
  options: DecidedOptions,
  run: (spec: ChildSpec) => Promise<void>,
  progress: (line: string) => void,
): Promise<StackFacts> {
  const { databaseUrl, redisUrl } = options
  const settings = openSettings(paths.data, options.port, {
    postgres: databaseUrl === undefined ? 'embedded' : 'external',
    redis: redisUrl === undefined ? 'own' : 'external',
  })
  requireListenable(options.passed.BMM_LISTEN, [settings.port, settings.grpcPort])
  const { publicUrl, formerUrls, told } = openPublicUrl(paths.data, options.publicUrl)
  if (told !== undefined) progress(told)
  prepareKeys(paths.keys)
  makeRunFolders(paths, users)
  const postgres = startPostgres(paths, users, databaseUrl, run)
  const [databaseUrls, redis] = await Promise.all([
    postgres,
    // A Redis of the operator's is claimed by a stack only that has got its database.
    (redisUrl === undefined ? Promise.resolve() : postgres.then(() => {})).then(() =>
      startRedis(paths, users, redisUrl, run),
    ),
    bundlePrograms(paths, seenCheckout(paths)),
  ])
  return {
    paths,
    users,
    port: settings.port,
    grpcPort: settings.grpcPort,
    publicUrl,
    formerUrls,
    mode: options.mode,
    mailbox:
      options.mode === 'development' && options.passed.BMM_SMTP_URL === undefined
        ? paths.mailbox
        : undefined,
    databaseUrls,
    redisUrl: redis,
    sandboxes: { ...options.sandboxes, driver: options.chosen.driver },
    passed: options.passed,
  }
}

/** Said before anything starts: the gateway would say it to its log only. */
function requireListenable(list: string | undefined, ports: readonly number[]): void {
  for (const { hostname } of listenAddresses(list).filter(({ isNamed }) => isNamed)) {
    for (const port of ports) {
      try {
        Bun.listen({ hostname, port, socket: { data() {} } }).stop(true)
      } catch (thrown) {
        throw failed('listen_failed', listenFault(hostname, port, errorFrom(thrown).message))
      }
    }
  }
}

async function startPostgres(
  paths: StackPaths,
  users: UserIds,
  external: string | undefined,
  run: (spec: ChildSpec) => Promise<void>,
): Promise<ReadonlyMap<string, string>> {
  const schemas = schemaNames().map((service) => ({
    service,
    password: passwordOf(paths.keys, `postgres-${service}`),
  }))
  if (external !== undefined) {
    await claimPostgres({
      ...{ url: external, services: schemaNames(), stack: stackId(paths.keys) },
      used: hasClaimed(paths.data),
    })
    keepClaimed(paths.data)
    return prepareSchemas(withReadableCertificates(paths, external), schemas).catch((thrown) => {
      throw postgresFault(thrown, parseSqlAddress(external))
    })
  }
  const store = await embeddedPostgres({
    run: join(paths.run, 'postgres'),
    data: join(paths.data, 'postgres'),
    users,
    password: passwordOf(paths.keys, 'postgres'),
    durable: true,
  })
  await run(store.spec)
  return prepareSchemas(await makeDatabase(store.url, DATABASE), schemas)
}

/** The services read them as users of their own, to whom the operator's file may be closed. */
function withReadableCertificates(paths: StackPaths, databaseUrl: string): string {
  const url = new URL(databaseUrl)
  const file = url.searchParams.get('sslrootcert')
  if (file === null) return databaseUrl
  const copy = join(paths.run, 'database-ca.pem')
  writeFileSync(copy, readFileSync(file), { mode: 0o644 })
  url.searchParams.set('sslrootcert', copy)
  return url.href
}

async function startRedis(
  paths: StackPaths,
  users: UserIds,
  external: string | undefined,
  run: (spec: ChildSpec) => Promise<void>,
): Promise<string> {
  if (external !== undefined) {
    await claimRedis(external, stackId(paths.keys))
    return external
  }
  const store = redisStore({
    run: join(paths.run, 'redis'),
    data: join(paths.data, 'redis'),
    users,
    password: passwordOf(paths.keys, 'redis'),
    durable: true,
    databases: REDIS_DATABASES,
  })
  await run(store.spec)
  return store.url
}

/** Each service starts as soon as those that it needs are ready. */
async function startServices(
  facts: StackFacts,
  run: (spec: ChildSpec) => Promise<void>,
): Promise<void> {
  const ready = new Map<string, Promise<void>>()
  for (const service of services) {
    const needed = service.after.map((name) => ready.get(name))
    ready.set(
      service.name,
      Promise.all(needed).then(() => run(serviceSpec(service, facts))),
    )
  }
  await Promise.all(ready.values())
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>()
  const stop = () => reject(failed('stopped', 'The stack was stopped while it started.'))
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  promise.catch(() => {})
  return promise
}
