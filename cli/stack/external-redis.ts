/** The operator's own Redis: whether the stack may and can use it, said in sentences. */
import { errorFrom } from '@bmm/lib/errors'
import { createLog } from '@bmm/lib/log'
import { openRedis, type Redis } from '@bmm/lib/redis'
import { CommandFault, failed } from '../fault.ts'

const OLDEST_VERSION = [6, 2] as const
/** Says whose the database is: queues and marks have the same names in every stack. */
const MARK = 'bmm:stack'
const PROBE = 'bmm:probe'
const PROBE_SECONDS = 10
/** What the queues are made of. */
const queueScript = `redis.call('hset', KEYS[1], 'a', 'b') redis.call('zadd', KEYS[2], 1, 'a')
  redis.call('xadd', KEYS[3], '*', 'a', 'b') return redis.call('del', KEYS[1], KEYS[2], KEYS[3])`
const queueKeys = ['bull:probe:1', 'bull:probe:2', 'bull:probe:3']

/** Makes the Redis database this stack's. Throws CommandFault with what to do when it cannot be. */
export async function claimRedis(url: string, stack: string): Promise<void> {
  const redis = openRedis(url, { log: createLog('cli', 'silent') })
  let lost: Error | undefined
  redis.on('error', (error: Error) => {
    lost = error
  })
  try {
    await redis.ping()
    await redis.select(databaseOf(url))
    requireUsable(url, await redis.info())
    await requireRights(redis)
    await redis.set(MARK, stack, 'NX')
    const owner = await redis.get(MARK)
    if (owner === stack) return
    throw refused(
      url,
      'redis_taken',
      `this database is used by the stack of another data directory. Give each its own, by another number at the end of REDIS_URL, such as /1; or, when that stack is gone for good, delete the key ${MARK} here.`,
    )
  } catch (thrown) {
    const error = errorFrom(thrown)
    if (error instanceof CommandFault) throw error
    throw refused(url, ...told(error.message, lost))
  } finally {
    redis.disconnect()
  }
}

function databaseOf(url: string): number {
  const { protocol, pathname, searchParams } = new URL(url)
  return Number((protocol === 'unix:' ? searchParams.get('db') : pathname.slice(1)) || 0)
}

/** By what INFO says. Throws CommandFault. */
export function requireUsable(url: string, info: string): void {
  const fact = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? ''
  const version = fact('valkey_version') || fact('redis_version')
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major < OLDEST_VERSION[0] || (major === OLDEST_VERSION[0] && minor < OLDEST_VERSION[1])) {
    const needed = `${OLDEST_VERSION.join('.')} or later is needed`
    throw refused(url, 'redis_old', `this is Redis ${version}, and ${needed}.`)
  }
  if (fact('cluster_enabled') === '1') {
    throw refused(
      url,
      'redis_cluster',
      'this is a cluster, over which queues cannot be spread: give a single Redis.',
    )
  }
  if (fact('role') === 'slave') {
    throw refused(url, 'redis_read_only', 'this is a replica: give the address of its master.')
  }
  const policy = fact('maxmemory_policy')
  if (policy === 'noeviction' || fact('maxmemory') === '0') return
  throw refused(
    url,
    'redis_evicts',
    `this Redis drops keys when its memory is full (maxmemory-policy ${policy}), queued builds among them: set maxmemory-policy noeviction.`,
  )
}

/** Each thing that services do is tried once: a right that is missing shows now and not in the middle of a build. */
async function requireRights(redis: Redis): Promise<void> {
  await redis.set(PROBE, '1', 'EX', PROBE_SECONDS)
  await redis.getex(PROBE, 'EX', PROBE_SECONDS)
  await redis.exists(PROBE)
  await redis.del(PROBE)
  await redis.publish(PROBE, '1')
  await redis.eval(queueScript, queueKeys.length, ...queueKeys)
}

function told(message: string, lost: Error | undefined): [string, string] {
  const code = lost !== undefined && 'code' in lost ? String(lost.code) : ''
  if (message.startsWith('WRONGPASS') || message.startsWith('NOAUTH')) {
    return [
      'redis_refused',
      'the account or its password is wrong or missing: redis://:PASSWORD@HOST:PORT, or redis://USER:PASSWORD@HOST:PORT.',
    ]
  }
  if (message.startsWith('NOPERM')) {
    return [
      'redis_rights',
      `the account lacks a right (${message.slice('NOPERM '.length)}). It needs: ~bmm:* ~bull:* &bmm:* +@all -@admin -@dangerous +info`,
    ]
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return ['redis_tls', `the server's certificate is for another name: ${lost?.message}`]
  }
  if (/CERT|SIGNATURE|ISSUER/.test(code)) {
    return [
      'redis_tls',
      `no known authority vouches for the server's certificate (${lost?.message}): name the file with that authority's certificate in NODE_EXTRA_CA_CERTS.`,
    ]
  }
  if (/^ERR /.test(message)) return ['redis_failed', `Redis says: ${message}.`]
  return [
    'redis_down',
    `Redis does not answer (${lost?.message ?? message}): does it run, may this machine reach it, and does it speak TLS just where REDIS_URL begins with rediss:?`,
  ]
}

/** Never with the password. */
function refused(url: string, code: string, sentence: string): CommandFault {
  const { protocol, host, pathname } = new URL(url)
  return failed(code, `REDIS_URL (${protocol === 'unix:' ? pathname : host}): ${sentence}`)
}
