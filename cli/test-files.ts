/** Running test files: which there are, one process each, and what came out of it. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from './config.ts'
import { misused } from './fault.ts'

const FILE_TIMEOUT_MS = 15 * 60_000
/** For one test that names no time of its own: a loaded machine is slow, not broken. */
const TEST_TIMEOUT_MS = 60_000

export type FileResult = {
  file: string
  passed: number
  failed: number
  elapsedMs: number
  /** All that the file printed. */
  output: string
}

/** Test files of the checkout under the given paths (all without any), the slow ones over several services first. */
export async function findTestFiles(paths: readonly string[]): Promise<string[]> {
  const all: string[] = []
  for await (const file of new Bun.Glob('**/*.test.ts').scan({ cwd: checkout, dot: false })) {
    if (!/(^|\/)node_modules\//.test(file)) all.push(file)
  }
  const wanted = paths.map((path) => path.replace(/^\.\//, '').replace(/\/$/, ''))
  for (const path of wanted) {
    if (!all.some((file) => isUnder(file, path))) throw misused(`There is no test under ${path}.`)
  }
  const chosen =
    wanted.length === 0 ? all : all.filter((file) => wanted.some((p) => isUnder(file, p)))
  return chosen.sort(
    (a, b) => Number(b.startsWith('tests/')) - Number(a.startsWith('tests/')) || a.localeCompare(b),
  )
}

/** Runs the files, a few at a time, and hands over each result as soon as it is there. */
export async function runTestFiles(
  files: readonly string[],
  options: { atATime: number; folder: string; env: Record<string, string> },
  onResult: (result: FileResult) => void,
): Promise<void> {
  const queue = [...files]
  const worker = async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      onResult(await runTestFile(file, options.folder, options.env))
    }
  }
  await Promise.all(Array.from({ length: options.atATime }, worker))
}

async function runTestFile(
  file: string,
  folder: string,
  env: Record<string, string>,
): Promise<FileResult> {
  const startedAt = performance.now()
  const report = join(folder, `${file.replaceAll('/', '-')}.xml`)
  const child = Bun.spawn(
    [
      ...['setpriv', '--pdeathsig', 'SIGKILL', process.execPath, 'test', '--no-env-file'],
      `--timeout=${TEST_TIMEOUT_MS}`,
      ...['--reporter=junit', `--reporter-outfile=${report}`, `./${file}`],
    ],
    // A session of its own, so that all that the file started can be ended with it.
    { cwd: checkout, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true },
  )
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    killGroup(child.pid)
  }, FILE_TIMEOUT_MS)
  // The output ends only when everything that inherited it has ended: so the exit decides.
  const printed = Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  const code = await child.exited
  clearTimeout(timer)
  killGroup(child.pid)
  const output = (await printed).join('').replace(/^bun test v.*\n/m, '')
  const counts = resultOf(code, existsSync(report) ? readFileSync(report, 'utf8') : undefined)
  rmSync(report, { force: true })
  const elapsedMs = performance.now() - startedAt
  const why = timedOut ? `\nkilled after ${FILE_TIMEOUT_MS / 60_000} minutes\n` : ''
  return { file, ...counts, elapsedMs, output: output + why }
}

/**
 * Pure: what an exit code and a JUnit report say together. A file that crashed, has no test, or skips one
 * counts as a failure: what was not run is not known to work.
 */
export function resultOf(
  exitCode: number,
  junit: string | undefined,
): { passed: number; failed: number } {
  const suite = /<testsuites [^>]*>/.exec(junit ?? '')?.[0] ?? ''
  const count = (name: string) => Number(new RegExp(` ${name}="(\\d+)"`).exec(suite)?.[1] ?? '0')
  const failed = count('failures') + count('skipped')
  const passed = count('tests') - failed
  const unexplained = failed === 0 && (exitCode !== 0 || passed === 0)
  return { passed, failed: unexplained ? 1 : failed }
}

function isUnder(file: string, path: string): boolean {
  return file === path || file.startsWith(`${path}/`)
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch {
    // Nothing of it is left.
  }
}
