/** `test`: prepares everything, runs all tests, and ends with one line that counts them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import type { Command } from 'commander'
import { checkout, environment, installsForbidden } from './config.ts'
import { failed } from './fault.ts'
import { note, print, printJson } from './output.ts'
import { installPrograms, unpackPrograms } from './stack/install.ts'
import { needsEngine, openTestEngine } from './test-engine.ts'
import {
  type FileResult,
  failedTests,
  failuresIn,
  findTestFiles,
  runTestFiles,
} from './test-files.ts'
import { installTestPackages } from './test-packages.ts'
import { openTestStores } from './test-stores.ts'

const PROCESSES = 2

/** Adds the command to the program. */
export function addTestCommand(program: Command): void {
  program
    .command('test')
    .description('run the tests: all, or those of the given files and folders of this checkout')
    .argument('[paths...]')
    .option('--json', 'end with one line of JSON')
    .action(test)
}

async function test(paths: string[], options: { json?: boolean }): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw failed(
      'not_root',
      'The tests start real sandboxes and need root: run ./bmm test as root.',
    )
  }
  const files = await findTestFiles(paths)
  const pythonGrpc = files.some((file) => file.endsWith('/grpc.journey.test.ts'))
  await installPrograms({ redis: true, bwrap: 'needed', pythonGrpc }, note)
  await installTestPackages(files, { root: checkout, forbidden: installsForbidden(), say: note })
  const proxies = files.some((file) => file.endsWith('/proxies.journey.test.ts'))
  const programs: Partial<Awaited<ReturnType<typeof reverseProxies>>> = proxies
    ? await reverseProxies()
    : {}
  const results: FileResult[] = []
  const startedAt = performance.now()
  const folder = mkdtempSync(join(tmpdir(), 'bmm-reports-'))
  try {
    await using stores = await openTestStores()
    await using engine = needsEngine(files) ? await openTestEngine(note) : undefined
    const env = {
      ...inherited(),
      PATH: [
        dirname(process.execPath),
        join(checkout, 'node_modules/.bin'),
        programs.PATH ?? Bun.env.PATH ?? '',
      ].join(delimiter),
      ...(programs.LD_LIBRARY_PATH === undefined
        ? {}
        : { BMM_TEST_LIBRARIES: programs.LD_LIBRARY_PATH }),
      BMM_TEST_DATABASE_URL: stores.databaseUrl,
      BMM_TEST_REDIS_URL: stores.redisUrl,
      ...(engine === undefined ? {} : { BMM_TEST_DOCKER_SOCKET: engine.socket }),
    }
    await runTestFiles(files, { atATime: PROCESSES, folder, env }, (result) => {
      results.push(result)
      note(describe(result))
      if (result.failed > 0) note(`${failuresIn(result.output)}\n`)
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const passed = results.reduce((sum, result) => sum + result.passed, 0)
  const failures = results.reduce((sum, result) => sum + result.failed, 0)
  for (const { file, output, failed } of results) {
    if (failed > 0) note([`FAIL ${file}`, ...failedTests(output)].join('\n     '))
  }
  note(`\n${files.length} files in ${seconds(performance.now() - startedAt)}`)
  if (options.json === true) printJson({ passed, failed: failures, files: results.length })
  else print(`${passed} passed, ${failures} failed`)
  if (failures > 0) process.exitCode = 1
}

/** Tests say themselves how the parts are configured: nothing of the operator's own configuration leaks in. */
function inherited(): Record<string, string> {
  const kept = Object.entries(environment()).filter(
    ([name]) => !/^(BMM_|DATABASE_URL$|REDIS_URL$|RUNNER_)/.test(name),
  )
  return Object.fromEntries(kept.map(([name, value]) => [name, value ?? '']))
}

function describe(result: FileResult): string {
  const mark = result.failed === 0 ? 'ok  ' : 'FAIL'
  const counts = `${result.passed} passed, ${result.failed} failed`
  return `${mark} ${result.file}  ${counts}  ${seconds(result.elapsedMs)}`
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

/** Where the proxies of README are found: unpacked, since their packages would start services. */
async function reverseProxies(): Promise<{ PATH: string; LD_LIBRARY_PATH?: string }> {
  const purpose = 'the proxies of README'
  const nginx = { names: ['nginx'], debian: 'nginx-light', purpose }
  const caddy = { names: ['caddy'], debian: 'caddy', purpose }
  const first = await unpackPrograms(nginx, join(checkout, '.bun', 'nginx'), note)
  const second = await unpackPrograms(caddy, join(checkout, '.bun', 'caddy'), note)
  return {
    ...first,
    ...second,
    PATH: [first.PATH, second.PATH].join(delimiter),
    ...(first.LD_LIBRARY_PATH === undefined ? {} : { LD_LIBRARY_PATH: first.LD_LIBRARY_PATH }),
  }
}
