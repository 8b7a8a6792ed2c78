/** Programs that the stack makes of its sources before it starts: those of the generator's disposable children. */
import { join } from 'node:path'
import { checkout } from '../config.ts'
import { failed } from '../fault.ts'
import { ownFolder } from './folders.ts'
import type { StackPaths } from './paths.ts'

const ROOT = 0

/** Root's own files, which the services may read; `seenAt` is where they see the checkout. */
export async function bundlePrograms(paths: StackPaths, seenAt: string): Promise<void> {
  ownFolder(paths.programs, ROOT, ROOT, 0o755)
  const bundler = join(checkout, 'services/generator/bundle.ts')
  const command = [process.execPath, '--no-env-file', '--no-install', bundler]
  const child = Bun.spawn([...command, paths.programs, seenAt], {
    ...{ cwd: checkout, stdio: ['ignore', 'ignore', 'pipe'] },
  })
  const [said, code] = await Promise.all([new Response(child.stderr).text(), child.exited])
  if (code === 0) return
  throw failed('bundle_failed', `The programs of the generator cannot be bundled: ${said.trim()}`)
}
