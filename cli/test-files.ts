/** Running test files: which there are, one process each, and what came out of it. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from './config.ts'
import { misused } from './fault.ts'

const FILE_TIMEOUT_MS = 10 * 60_000
/** Above the 5 minutes that the slowest test may take: Bun prints each result, and ends no test that blocks its event loop. */
const SILENCE_MS = 6 * 60_000
/** For what a file started and left in a session of its own: it holds the output open. */
const OUTPUT_PATIENCE_MS = 5_000
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

/** One file in a process of its own; `silenceMs` is shorter in tests. */
export async function runTestFile(
  file: string,
  folder: string,
  env: Record<string, string>,
  silenceMs = SILENCE_MS,
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
  const hung = Promise.withResolvers<string>()
  const hang = (ms: number, why: string) =>
    setTimeout(() => hung.resolve(`after ${ms / 1_000} s ${why}`), ms)
  const whole = hang(FILE_TIMEOUT_MS, 'in all')
  let silence: ReturnType<typeof hang> | undefined
  let isOver = false
  const onOutput = () => {
    clearTimeout(silence)
    if (!isOver) silence = hang(silenceMs, 'without another line')
  }
  onOutput()
  const output = collect([child.stdout, child.stderr], onOutput)
  // The output ends only when everything that inherited it has ended: so the exit decides.
  const ended = await Promise.race([child.exited, hung.promise])
  isOver = true
  clearTimeout(whole)
  clearTimeout(silence)
  killGroup(child.pid)
  const code = await child.exited
  await Promise.race([output.end, Bun.sleep(OUTPUT_PATIENCE_MS)])
  const counts = resultOf(code, existsSync(report) ? readFileSync(report, 'utf8') : undefined)
  rmSync(report, { force: true })
  const elapsedMs = performance.now() - startedAt
  const why = typeof ended === 'string' ? `\n${file} hung: ${ended} it was killed.\n` : ''
  return { file, ...counts, elapsedMs, output: output.text() + why }
}

/** Reads what is printed, and tells that there is more each time. */
function collect(
  streams: readonly ReadableStream<Uint8Array>[],
  onMore: () => void,
): { text(): string; end: Promise<unknown> } {
  const texts = streams.map(() => '')
  const reading = streams.map(async (stream, index) => {
    const decoder = new TextDecoder()
    for await (const chunk of stream) {
      texts[index] += decoder.decode(chunk, { stream: true })
      onMore()
    }
  })
  const text = () => texts.join('').replace(/^bun test v.*\n/m, '')
  return { text, end: Promise.all(reading) }
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

/** Pure: what a file printed, without the tests that passed: what is left fits into the part of a log that a CI keeps. */
export function failuresIn(output: string): string {
  return output.replace(/^\(pass\) .*\n/gm, '').trim()
}

/** Pure: the names of the tests that failed, as Bun prints them. */
export function failedTests(output: string): string[] {
  return Array.from(output.matchAll(/^\(fail\) (.*)$/gm), ([, name = '']) => name)
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
