/** The Postgres and the Redis that one run of the tests shares; each test file takes a database of its own there. */
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Child, type ChildSpec, keepRunning } from './stack/child.ts'
import { type Lock, tryLock } from './stack/lock.ts'
import { embeddedPostgres } from './stack/postgres.ts'
import { redisStore } from './stack/redis.ts'
import { testUserIds } from './stack/user-ids.ts'

const PREFIX = 'bmm-test-'
const REDIS_DATABASES = 256
/** Both live for minutes and listen only on a socket in a folder that only root enters. */
const PASSWORD = 'bmm'

export type TestStores = AsyncDisposable & { databaseUrl: string; redisUrl: string }

/** Starts both; disposing stops them and removes their folder. */
export async function openTestStores(): Promise<TestStores> {
  removeStale()
  const folder = mkdtempSync(join(tmpdir(), PREFIX))
  chmodSync(folder, 0o711)
  const lock = tryLock(lockFile(folder))
  const children: Child[] = []
  const run = async (spec: ChildSpec) => {
    const child = keepRunning(spec, join(folder, 'logs'), () => {})
    children.push(child)
    await child.firstReady
  }
  const close = async () => {
    for (const child of children) await child.stop()
    rmSync(folder, { recursive: true, force: true })
    lock?.[Symbol.dispose]()
  }
  try {
    const shared = { users: testUserIds, password: PASSWORD, durable: false }
    const postgres = await embeddedPostgres({
      ...shared,
      run: join(folder, 'postgres'),
      data: join(folder, 'postgres-data'),
    })
    const redis = redisStore({
      ...shared,
      run: join(folder, 'redis'),
      data: join(folder, 'redis-data'),
      databases: REDIS_DATABASES,
    })
    await Promise.all([run(postgres.spec), run(redis.spec)])
    return { databaseUrl: postgres.url, redisUrl: redis.url, [Symbol.asyncDispose]: close }
  } catch (error) {
    await close()
    throw error
  }
}

/** A killed run leaves its folder: its processes died with it. */
function removeStale(): void {
  for (const name of readdirSync(tmpdir())) {
    const folder = join(tmpdir(), name)
    if (!name.startsWith(PREFIX) || !existsSync(lockFile(folder))) continue
    using lock: Lock | undefined = tryLock(lockFile(folder))
    if (lock !== undefined) rmSync(folder, { recursive: true, force: true })
  }
}

function lockFile(folder: string): string {
  return join(folder, 'lock')
}
