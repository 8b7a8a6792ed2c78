/** Runs the official conformance suite as a process of its own and reads what it wrote down. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'

const here = import.meta.dir
const program = join(here, 'node_modules/@modelcontextprotocol/conformance/dist/index.js')
const SCENARIO_TIMEOUT_MS = 30_000
const RUN_TIMEOUT_MS = 240_000
/** The suite's program is one minified line, which a stack trace would quote. */
const MAX_LINE = 200

const checksSchema = z.array(
  z.looseObject({ id: z.string(), status: z.string(), errorMessage: z.string().optional() }),
)
type Scenario = { name: string; checks: z.infer<typeof checksSchema> }

export type SuiteResult = {
  code: number
  /** What it printed, line by line, cut. */
  lines: string[]
  scenarios: Scenario[]
  /** `scenario:check`, each with what was wrong, of the checks that ended like this. */
  ended(status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED'): { check: string; why: string }[]
}

/** Every scenario that this revision requires, against an MCP address that needs no token. */
export function runServerSuite(revision: string, url: string): Promise<SuiteResult> {
  return run([
    ...['server', '--url', url, '--requirements', revision],
    ...['--expected-failures', join(here, `expected-${revision}.yml`)],
    ...['--timeout', String(SCENARIO_TIMEOUT_MS)],
  ])
}

export type AuthorizationTarget = {
  issuer: string
  clientId: string
  resource: string
  /** Where it listens for the way back. */
  port: number
}

/** Every scenario for authorization servers; `visit` gets the address that a person is to open. */
export function runAuthorizationSuite(
  { issuer, clientId, resource, port }: AuthorizationTarget,
  visit: (address: string) => void,
): Promise<SuiteResult> {
  const words = ['--url', issuer, '--client-id', clientId, '--resource', resource]
  return run(['authorization', ...words, '--port', String(port)], (line) => {
    if (line.startsWith(`${issuer}/`)) visit(line)
  })
}

async function run(words: string[], onLine: (line: string) => void = () => {}) {
  const folder = mkdtempSync(join(tmpdir(), 'bmm-conformance-'))
  try {
    const child = Bun.spawn([process.execPath, program, ...words, '--output-dir', folder], {
      cwd: here,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: RUN_TIMEOUT_MS,
    })
    const lines = (
      await Promise.all([linesOf(child.stdout, onLine), linesOf(child.stderr, () => {})])
    ).flat()
    return resultOf(await child.exited, lines, scenariosIn(folder))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function resultOf(code: number, lines: string[], scenarios: Scenario[]): SuiteResult {
  return {
    ...{ code, lines, scenarios },
    ended: (status) =>
      scenarios.flatMap(({ name, checks }) =>
        checks
          .filter((check) => check.status === status)
          .map(({ id, errorMessage = '' }) => ({ check: `${name}:${id}`, why: errorMessage })),
      ),
  }
}

async function linesOf(
  stream: ReadableStream<Uint8Array>,
  onLine: (line: string) => void,
): Promise<string[]> {
  const lines: string[] = []
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of stream) {
    const parts = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = parts.pop() ?? ''
    for (const line of parts) {
      onLine(line)
      lines.push(line.slice(0, MAX_LINE))
    }
  }
  return [...lines, rest.slice(0, MAX_LINE)]
}

/** One folder a scenario. */
function scenariosIn(folder: string): Scenario[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('checks.json'))
    .map((path) => ({
      name: /^(?:server-|authorization-server-)?(.*?)-\d{4}-\d\d-\d\dT/.exec(path)?.[1] ?? path,
      checks: checksSchema.parse(JSON.parse(readFileSync(join(folder, path), 'utf8'))),
    }))
    .sort((a, b) => a.name.localeCompare(b.name))
}
