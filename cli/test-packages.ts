/** Packages that nothing but some tests needs: outside the workspaces, with a lock of their own, installed when those run. */
import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { failed } from './fault.ts'

const MAX_TOLD = 2_000

export type PackageOptions = {
  /** The folder that the files are relative to. */
  root: string
  forbidden: boolean
  /** Gets a sentence before each installation. */
  say: (line: string) => void
}

/** Installs what these test files need beside the workspaces. */
export async function installTestPackages(
  files: readonly string[],
  options: PackageOptions,
): Promise<void> {
  const { root, forbidden, say } = options
  for (const folder of testPackages(files, root)) {
    const path = join(root, folder)
    if (isInstalled(path)) continue
    if (forbidden) {
      throw failed(
        'install_forbidden',
        `The packages of ${folder} are missing or old, and BMM_NO_INSTALL=1 forbids installing: run ./bmm test ${folder} once without it.`,
      )
    }
    say(`installing the packages of ${folder} (bun install)`)
    const child = Bun.spawn([process.execPath, 'install', '--frozen-lockfile'], {
      cwd: path,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const told = await new Response(child.stderr).text()
    if ((await child.exited) !== 0) {
      throw failed(
        'install_failed',
        `The packages of ${folder} could not be installed: ${told.slice(-MAX_TOLD)}`,
      )
    }
    copyFileSync(lockIn(path), stampIn(path))
  }
}

/** The folders above these files that have a lock of their own. */
function testPackages(files: readonly string[], root: string): string[] {
  const found = new Set<string>()
  for (const file of files) {
    for (let folder = dirname(file); folder !== '.'; folder = dirname(folder)) {
      if (existsSync(lockIn(join(root, folder)))) found.add(folder)
    }
  }
  return [...found].sort()
}

const lockIn = (path: string) => join(path, 'bun.lock')
/** The lock as it was installed. */
const stampIn = (path: string) => join(path, 'node_modules/.bmm-lock')

function isInstalled(path: string): boolean {
  return existsSync(stampIn(path)) && readFileSync(stampIn(path)).equals(readFileSync(lockIn(path)))
}
