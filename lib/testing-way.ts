/** A way to a store's socket that tests can break, as a network breaks: without a word to either end. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

export type Way = AsyncDisposable & {
  /** Named as the target. */
  socket: string
  /** What is open when it leads nowhere stays open and silent for ever; what is opened later leads there again. */
  break(): void
}

export async function startWay(target: string): Promise<Way> {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-way-'))
  const socket = join(folder, basename(target))
  let open: { leads: boolean }[] = []
  const server = createServer((client) => {
    const way = { leads: true }
    open.push(way)
    const there = createConnection(target)
    client.on('data', (bytes) => way.leads && there.write(bytes))
    there.on('data', (bytes) => way.leads && client.write(bytes))
    for (const end of [client, there]) {
      end.on('close', () => (end === client ? there : client).destroy())
      end.on('error', () => {})
    }
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  return {
    socket,
    break() {
      for (const way of open) way.leads = false
      open = []
    },
    async [Symbol.asyncDispose]() {
      server.close()
      rmSync(folder, { recursive: true })
    },
  }
}
