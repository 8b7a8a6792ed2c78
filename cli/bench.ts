/** `bench`: hands over to bench/main.ts, which measures. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { checkout, environment } from './config.ts'
import { failed } from './fault.ts'
import { unpackPrograms } from './stack/install.ts'
import { openTestEngine, type TestEngine } from './test-engine.ts'

/** Adds the command to the program. */
export function addBenchCommand(program: Command): void {
  program
    .command('bench')
    .description('measure the call path and what leads to it')
    .argument(
      '[names...]',
      'calls, latency, wake, burst, sandbox, github, first, directory, fidelity, isolation or sleepers; all of them otherwise',
    )
    .option('--json', 'one line of JSON instead of the table')
    .action(bench)
}

async function bench(names: string[], options: { json?: boolean }): Promise<void> {
  const main = join(checkout, 'bench/main.ts')
  if (!existsSync(main)) throw failed('no_bench', 'There is no bench/main.ts in this checkout.')
  const words = options.json === true ? ['--json', ...names] : names
  const wants = (name: string) => names.length === 0 || names.includes(name)
  await using engine = wants('wake') ? await foundEngine() : undefined
  const env = wants('calls') ? await withNginx() : environment()
  const docker =
    engine === undefined
      ? {}
      : { PATH: `${env.PATH}:${engine.path}`, BMM_TEST_DOCKER_SOCKET: engine.socket }
  const child = Bun.spawn([process.execPath, '--no-env-file', '--no-install', main, ...words], {
    stdio: ['inherit', 'inherit', 'inherit'],
    env: { ...env, ...docker },
  })
  process.exitCode = await child.exited
}

function say(line: string): void {
  process.stderr.write(`bmm: ${line}\n`)
}

/** A machine that can have none goes without the figures beside `docker run`. */
async function foundEngine(): Promise<TestEngine | undefined> {
  return await openTestEngine(say).catch((fault: unknown) => {
    say(`no container engine: ${fault instanceof Error ? fault.message : fault}`)
    return undefined
  })
}

/** The environment in which the bench finds nginx. */
async function withNginx(): Promise<Record<string, string | undefined>> {
  const nginx = { names: ['nginx'], debian: 'nginx-light', purpose: 'a yardstick of the bench' }
  return {
    ...environment(),
    ...(await unpackPrograms(nginx, join(checkout, '.bun', 'nginx'), say)),
  }
}
