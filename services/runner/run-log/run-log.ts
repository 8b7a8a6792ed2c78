/** The run log: lines of tools and events of sandboxes on their way to Postgres, bounded and in batches. */
import { errorFrom } from '@bmm/lib/errors'
import type { Log } from '@bmm/lib/log'

export type RunLine = {
  serverId: string
  orgId: string
  at: Date
  /** debug, info, warn, error, or `platform` for what happened to a sandbox. */
  level: string
  /** Empty when no tool is concerned. */
  tool: string
  message: string
  /** Empty when no call is concerned. */
  requestId: string
}

export type RunLogStore = {
  append(lines: RunLine[]): Promise<void>
  /** Keeps the newest lines of a server only. */
  trim(serverId: string): Promise<void>
}

export type RunLog = AsyncDisposable & {
  /** Never waits: a server that logs faster than Postgres stores loses lines, and one line says how many. */
  write(line: RunLine): void
  /** Called after lines of this server were stored; returns the way to stop. */
  subscribe(serverId: string, onStored: () => void): () => void
  /** Stores what is queued. */
  flush(): Promise<void>
}

const MAX_LINE_BYTES = 8 * 1024
const FLUSH_MS = 200
const BATCH_LINES = 500
const MAX_QUEUED_LINES = 10_000
/** At a flush every 200 ms this also paces a server to some thousand lines a second. */
const MAX_QUEUED_PER_SERVER = 500
/** Many servers of one organisation must not take the room of the others. */
const MAX_QUEUED_PER_ORG = 2_500
const TRIM_EVERY_LINES = 1_000

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export function createRunLog(options: { store: RunLogStore; log: Log; now: () => number }): RunLog {
  const { store, log, now } = options
  const queue: RunLine[] = []
  /** By server and by organisation: their ids never meet. */
  const queued = new Map<string, number>()
  const dropped = new Map<string, { orgId: string; lines: number }>()
  const sinceTrim = new Map<string, number>()
  const subscribers = new Map<string, Set<() => void>>()
  let timer: ReturnType<typeof setTimeout> | undefined
  let storing: Promise<void> | undefined

  function enqueue(line: RunLine) {
    queue.push(line)
    for (const owner of [line.serverId, line.orgId]) {
      queued.set(owner, (queued.get(owner) ?? 0) + 1)
    }
  }

  function arm() {
    timer ??= setTimeout(() => {
      timer = undefined
      void flush()
    }, FLUSH_MS)
  }

  function noteDropped() {
    for (const [serverId, { orgId, lines }] of dropped) {
      const message = `${lines} log lines were dropped: the server logs faster than lines are stored.`
      const note = { level: 'platform', tool: '', message, requestId: '' }
      enqueue({ serverId, orgId, at: new Date(now()), ...note })
    }
    dropped.clear()
  }

  async function storeBatch(): Promise<void> {
    const batch = queue.slice(0, BATCH_LINES)
    await store.append(batch)
    queue.splice(0, batch.length)
    const servers = new Set<string>()
    for (const { serverId, orgId } of batch) {
      servers.add(serverId)
      for (const owner of [serverId, orgId]) {
        const left = (queued.get(owner) ?? 0) - 1
        if (left > 0) queued.set(owner, left)
        else queued.delete(owner)
      }
      sinceTrim.set(serverId, (sinceTrim.get(serverId) ?? TRIM_EVERY_LINES) + 1)
    }
    for (const serverId of servers) {
      for (const onStored of subscribers.get(serverId) ?? []) onStored()
      if ((sinceTrim.get(serverId) ?? 0) < TRIM_EVERY_LINES) continue
      await store.trim(serverId)
      sinceTrim.set(serverId, 0)
    }
  }

  async function storeAll(): Promise<void> {
    noteDropped()
    try {
      while (queue.length > 0) await storeBatch()
    } catch (error) {
      log.warn({ err: errorFrom(error), queued: queue.length }, 'run lines could not be stored')
      arm()
    }
  }

  function flush(): Promise<void> {
    storing ??= storeAll().finally(() => {
      storing = undefined
      if (queue.length > 0 || dropped.size > 0) arm()
    })
    return storing
  }

  return {
    write(line) {
      const { serverId, orgId } = line
      const isFull =
        (queued.get(serverId) ?? 0) >= MAX_QUEUED_PER_SERVER ||
        (queued.get(orgId) ?? 0) >= MAX_QUEUED_PER_ORG ||
        queue.length >= MAX_QUEUED_LINES
      arm()
      if (isFull) {
        dropped.set(serverId, { orgId, lines: (dropped.get(serverId)?.lines ?? 0) + 1 })
        return
      }
      enqueue({ ...line, message: storable(line.message) })
    },
    subscribe(serverId, onStored) {
      const mine = subscribers.get(serverId) ?? new Set()
      mine.add(onStored)
      subscribers.set(serverId, mine)
      return () => {
        mine.delete(onStored)
        if (mine.size === 0) subscribers.delete(serverId)
      }
    },
    flush,
    async [Symbol.asyncDispose]() {
      clearTimeout(timer)
      await flush()
      clearTimeout(timer)
    },
  }
}

/** At most 8 KiB of UTF-8, without the one character that Postgres text cannot hold. */
function storable(text: string): string {
  const clean = text.replaceAll('\u0000', '\uFFFD')
  const bytes = encoder.encode(clean)
  if (bytes.length <= MAX_LINE_BYTES) return clean
  const mark = ' …'
  const cut = decoder.decode(bytes.subarray(0, MAX_LINE_BYTES - encoder.encode(mark).length - 3))
  return `${cut.replace(/\uFFFD+$/, '')}${mark}`
}
