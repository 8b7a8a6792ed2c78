/** A Redis of the stack's own, on a unix socket: hints, queues of row ids and counters. */
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { createLog } from '@bmm/lib/log'
import { openRedis } from '@bmm/lib/redis'
import type { ChildSpec } from './child.ts'
import { confined } from './confine.ts'
import { ownFolder } from './folders.ts'
import { redisProgram } from './install.ts'
import type { UserIds } from './user-ids.ts'

const READY_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 10_000
const MEMORY_LIMIT = '512mb'

export type RedisOptions = {
  /** Folder of the socket: made here. */
  run: string
  /** Folder of the data: made here. */
  data: string
  users: UserIds
  password: string
  /** Whether queues survive the machine; not in tests. */
  durable: boolean
  /** Databases to choose from. */
  databases: number
}

export type RedisStore = { url: string; spec: ChildSpec }

/** Prepares the folders and says how to run it and how to reach it. */
export function redisStore(options: RedisOptions): RedisStore {
  const { run, users, password } = options
  const user = users.of('redis')
  ownFolder(run, user, users.group, 0o2750)
  ownFolder(options.data, user, users.group, 0o700)
  const mounted = join(run, 'data')
  ownFolder(mounted, user, users.group, 0o700)
  const socket = join(run, 'redis.sock')
  // Called by this name, the multi-call program is the server, whatever its file is called.
  const program = join(run, 'redis-server')
  symlinkSync(redisProgram(), program)
  const url = `unix://${socket}?password=${password}`
  return {
    url,
    spec: {
      name: 'redis',
      command: confined([program, '-'], {
        user,
        group: users.group,
        binds: [{ from: options.data, to: mounted, writable: true }],
      }),
      env: {},
      cwd: '/',
      files: [],
      input: settings(options, socket, mounted),
      fault: async () => ((await answers(url)) ? undefined : 'it does not answer'),
      readyTimeoutMs: READY_TIMEOUT_MS,
      stopSignal: 'SIGTERM',
      stopTimeoutMs: STOP_TIMEOUT_MS,
    },
  }
}

/** By standard input, since arguments are for every user of the machine to read. */
function settings(options: RedisOptions, socket: string, folder: string): string {
  return [
    'port 0',
    `unixsocket ${socket}`,
    'unixsocketperm 660',
    `requirepass ${options.password}`,
    `databases ${options.databases}`,
    `maxmemory ${MEMORY_LIMIT}`,
    'maxmemory-policy noeviction',
    `dir ${folder}`,
    'save ""',
    `appendonly ${options.durable ? 'yes' : 'no'}`,
    'daemonize no',
    'logfile ""',
    '',
  ].join('\n')
}

async function answers(url: string): Promise<boolean> {
  const redis = openRedis(url, { log: createLog('cli', 'silent') })
  try {
    return (await redis.ping()) === 'PONG'
  } catch {
    return false
  } finally {
    redis.disconnect()
  }
}
