/** Runs the official conformance suite against the fixture server of a fresh stack and prints what passed. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openPlatform } from '../platform.ts'
import { startStack } from '../stack.ts'
import { fixtureSpec } from './fixture-spec.ts'
import { startShim } from './shim.ts'

const here = import.meta.dir
const revisions = ['2026-07-28', '2025-11-25'] as const
const MAX_LINE = 200
const SCENARIO_TIMEOUT_MS = 30_000
const RUN_TIMEOUT_MS = 240_000

type Check = { id: string; status: string; errorMessage?: string }
type Scenario = { name: string; checks: Check[] }

const failed = await conformance(process.argv.includes('--verbose'))
process.exit(failed ? 1 : 0)

/** Whether a run ended other than the expected failures say. */
async function conformance(verbose: boolean): Promise<boolean> {
  await install()
  await using stack = await startStack()
  const platform = await openPlatform(stack, 'conformance@example.com')
  const url = await platform.serve(await platform.draft({ spec: fixtureSpec }), 'conformance')
  await using shim = startShim(url, () => platform.token(url, platform.builder))
  let surprises = false
  for (const revision of revisions) {
    const { code, output, scenarios } = await runSuite(revision, shim.url)
    const count = (...statuses: string[]) =>
      scenarios.flatMap(({ checks }) => checks.filter(({ status }) => statuses.includes(status)))
        .length
    print(
      `${revision}: ${count('SUCCESS')} checks passed, ${count('FAILURE')} failed, ${count('WARNING')} warnings, ${scenarios.length} scenarios, ${code === 0 ? 'as expected' : 'NOT as expected'}`,
    )
    for (const { name, checks } of scenarios) {
      for (const { id, status, errorMessage = '' } of checks) {
        if (status === 'FAILURE' || status === 'WARNING') print(`  ${name}:${id} ${errorMessage}`)
      }
    }
    if (verbose || code !== 0) for (const line of output.split('\n')) print(`  | ${line}`)
    surprises ||= code !== 0
  }
  return surprises
}

async function runSuite(revision: string, url: string) {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-conformance-'))
  try {
    const child = Bun.spawn(
      [
        ...[process.execPath, 'node_modules/@modelcontextprotocol/conformance/dist/index.js'],
        ...['server', '--url', url, '--requirements', revision, '--output-dir', folder],
        ...['--expected-failures', `expected-${revision}.yml`],
        ...['--timeout', String(SCENARIO_TIMEOUT_MS)],
      ],
      { cwd: here, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe', timeout: RUN_TIMEOUT_MS },
    )
    const output = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ])
    const code = await child.exited
    return { code, output: output.join(''), scenarios: scenariosIn(folder) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What the suite wrote down: one folder a scenario. */
function scenariosIn(folder: string): Scenario[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('checks.json'))
    .map((path) => ({
      name: /^server-(.*?)-\d{4}-\d\d-\d\dT/.exec(path)?.[1] ?? path,
      checks: JSON.parse(readFileSync(join(folder, path), 'utf8')),
    }))
    .sort((a, b) => a.name.localeCompare(b.name))
}

/** The suite's program is one minified line, which a stack trace would quote. */
function print(line: string): void {
  process.stdout.write(`${line.slice(0, MAX_LINE)}\n`)
}

async function install(): Promise<void> {
  const child = Bun.spawn([process.execPath, 'install', '--frozen-lockfile'], {
    cwd: here,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if ((await child.exited) !== 0) throw new Error('the suite could not be installed')
}
