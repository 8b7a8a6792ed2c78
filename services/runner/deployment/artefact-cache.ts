/** What sandboxes are loaded with, of the servers used last: of all others it waits in Postgres, and costs no memory. */
import type { LoadArtefact } from './deployment.ts'

/** Thousands of ordinary servers, a few of the largest. */
const MAX_BYTES = 32 * 1024 * 1024

export type ArtefactCache = {
  put(serverId: string, artefact: LoadArtefact): void
  /** Reads it when it is not there; one reading serves all who ask meanwhile. Rejects as `read` does. */
  get(serverId: string, read: () => Promise<LoadArtefact>): Promise<LoadArtefact>
  forget(serverId: string): void
}

/** The least recently used are dropped. */
export function createArtefactCache(maxBytes = MAX_BYTES): ArtefactCache {
  const kept = new Map<string, LoadArtefact>()
  const reading = new Map<string, Promise<LoadArtefact>>()
  let bytes = 0

  function forget(serverId: string): void {
    const artefact = kept.get(serverId)
    if (artefact !== undefined) bytes -= sizeOf(artefact)
    kept.delete(serverId)
    // Whoever reads an older one keeps what she reads, but it is not remembered.
    reading.delete(serverId)
  }

  function put(serverId: string, artefact: LoadArtefact): void {
    forget(serverId)
    kept.set(serverId, artefact)
    bytes += sizeOf(artefact)
    for (const oldest of kept.keys()) {
      if (bytes <= maxBytes) return
      forget(oldest)
    }
  }

  async function readOnce(
    serverId: string,
    read: () => Promise<LoadArtefact>,
  ): Promise<LoadArtefact> {
    const mine = reading.get(serverId) ?? read()
    reading.set(serverId, mine)
    try {
      const artefact = await mine
      if (reading.get(serverId) === mine) put(serverId, artefact)
      return artefact
    } finally {
      if (reading.get(serverId) === mine) reading.delete(serverId)
    }
  }

  return {
    put,
    forget,
    async get(serverId, read) {
      const artefact = kept.get(serverId)
      if (artefact === undefined) return await readOnce(serverId, read)
      kept.delete(serverId)
      kept.set(serverId, artefact)
      return artefact
    },
  }
}

function sizeOf({ tools, module }: LoadArtefact): number {
  return tools.length + module.length
}
