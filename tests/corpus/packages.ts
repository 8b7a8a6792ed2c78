/** The packages of this folder: 1 GB of documents, and what reads them, installed when a test or a bench first asks for them. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'

export const packageFolder = join(import.meta.dir, 'node_modules')
const manifest = join(import.meta.dir, 'package.json')
const manifestSchema = z.object({ dependencies: z.record(z.string(), z.string()) })
const installedSchema = z.object({ version: z.string() })

/** For hooks that call `installCorpus`: 10 s here, much longer behind a slow registry. */
export const INSTALL_TIMEOUT_MS = 600_000

/** Does nothing where the wanted versions are there already. Two processes that ask at once install once. */
export async function installCorpus(): Promise<void> {
  if (missing().length === 0) return
  if (Bun.env.BMM_NO_INSTALL === '1') {
    throw new Error(
      `tests/corpus lacks ${missing().join(', ')}, and BMM_NO_INSTALL=1 forbids installing`,
    )
  }
  process.stderr.write(`installing ${missing().join(', ')} into tests/corpus\n`)
  const child = Bun.spawn(
    // The manifest is only what the lock hangs on.
    ['flock', manifest, process.execPath, 'install', '--frozen-lockfile'],
    { cwd: import.meta.dir, stdin: 'ignore', stdout: 'ignore', stderr: 'inherit' },
  )
  const code = await child.exited
  if (code !== 0 || missing().length > 0) throw new Error('tests/corpus could not be installed')
}

function missing(): string[] {
  const { dependencies } = manifestSchema.parse(JSON.parse(readFileSync(manifest, 'utf8')))
  return Object.entries(dependencies).flatMap(([name, version]) => {
    const file = join(packageFolder, name, 'package.json')
    if (!existsSync(file)) return [name]
    const installed = installedSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
    return installed.version === version ? [] : [name]
  })
}
