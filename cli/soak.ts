/** `soak`: hands over to bench/soak/main.ts, which works for minutes and counts what stays. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { checkout } from './config.ts'
import { failed } from './fault.ts'

const MAX_MINUTES = 24 * 60

/** Adds the command to the program. */
export function addSoakCommand(program: Command): void {
  program
    .command('soak')
    .description('work on a stack of its own for minutes, and count what is left behind')
    .option('--minutes <n>', 'how long', parseMinutes, 10)
    .option('--json', 'one line of JSON instead of the tables')
    .action(soak)
}

async function soak({ minutes, json }: { minutes: number; json?: boolean }): Promise<void> {
  const main = join(checkout, 'bench/soak/main.ts')
  if (!existsSync(main)) throw failed('no_soak', 'There is no bench/soak in this checkout.')
  const words = [String(minutes), ...(json === true ? ['--json'] : [])]
  const child = Bun.spawn([process.execPath, '--no-env-file', '--no-install', main, ...words], {
    stdio: ['inherit', 'inherit', 'inherit'],
  })
  process.exitCode = await child.exited
}

function parseMinutes(text: string): number {
  const minutes = Number(text)
  if (minutes > 0 && minutes <= MAX_MINUTES) return minutes
  throw new InvalidArgumentError(`Minutes are more than 0 and at most ${MAX_MINUTES}.`)
}
