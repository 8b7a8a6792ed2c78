/** Starting all processes of a stack in order, and stopping them in the opposite one. */
import { join } from 'node:path'
import { failed } from '../fault.ts'
import { type Child, type ChildEvent, type ChildSpec, keepRunning } from './child.ts'
import { passwordOf, prepareKeys } from './keys.ts'
import type { DecidedOptions } from './options.ts'
import type { StackPaths } from './paths.ts'
import { embeddedPostgres, externalPostgres, prepareSchemas } from './postgres.ts'
import { bundlePrograms } from './programs.ts'
import { answers, redisStore } from './redis.ts'
import { makeRunFolders } from './run-folders.ts'
import { type StackFacts, schemaNames, seenCheckout, serviceSpec, services } from './services.ts'
import { openSettings } from './settings.ts'
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
    const facts = await Promise.race([interrupted, startStores(paths, users, options, run)])
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
): Promise<StackFacts> {
  const { databaseUrl, redisUrl } = options
  const settings = openSettings(paths.data, options.port, {
    postgres: databaseUrl === undefined ? 'embedded' : 'external',
    redis: redisUrl === undefined ? 'own' : 'external',
  })
  prepareKeys(paths.keys)
  makeRunFolders(paths, users)
  const [databaseUrls, redis] = await Promise.all([
    startPostgres(paths, users, databaseUrl, run),
    startRedis(paths, users, redisUrl, run),
    bundlePrograms(paths, seenCheckout(paths)),
  ])
  return {
    paths,
    users,
    port: settings.port,
    grpcPort: settings.grpcPort,
    publicUrl: options.publicUrl ?? `http://localhost:${settings.port}`,
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
    const { url } = await externalPostgres(external)
    return prepareSchemas(url, undefined, schemas)
  }
  const store = await embeddedPostgres({
    run: join(paths.run, 'postgres'),
    data: join(paths.data, 'postgres'),
    users,
    password: passwordOf(paths.keys, 'postgres'),
    durable: true,
  })
  await run(store.spec)
  return prepareSchemas(store.url, DATABASE, schemas)
}

async function startRedis(
  paths: StackPaths,
  users: UserIds,
  external: string | undefined,
  run: (spec: ChildSpec) => Promise<void>,
): Promise<string> {
  if (external !== undefined) {
    if (await answers(external)) return external
    throw failed('redis_down', 'Redis at REDIS_URL does not answer.')
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
