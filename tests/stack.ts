/** The stack that a journey runs on: real processes in a data directory of their own, started by the launcher. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { testDockerSocket } from '@bmm/lib/env'
import { z } from 'zod'

const checkout = join(import.meta.dir, '..')
const MAIL_TIMEOUT_MS = 10_000
const upSchema = z.object({
  gateway: z.string(),
  grpc: z.string(),
  mailbox: z.string(),
  data: z.string(),
  driver: z.string(),
})

export type CommandResult = { code: number; stdout: string; stderr: string }

/** Runs `./bmm` with these words, in this checkout. */
export async function bmm(
  words: string[],
  options: { stdin?: string; env?: Record<string, string> } = {},
): Promise<CommandResult> {
  const variables = Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`)
  const child = Bun.spawn(['env', ...variables, join(checkout, 'bmm'), ...words], {
    cwd: checkout,
    stdin: options.stdin === undefined ? 'ignore' : new Blob([options.stdin]),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { code, stdout, stderr }
}

export type Stack = AsyncDisposable & {
  /** `http://localhost:PORT`. */
  gateway: string
  /** `localhost:PORT`. */
  grpc: string
  data: string
  mailbox: string
  /** Each slot has a user of its own; they are numbered from this one. */
  firstSlotUser: number
  /** Runs a command on this stack; throws with its output when it fails. */
  run(...words: string[]): Promise<string>
  /** As run, giving the exit code instead of throwing. */
  attempt(...words: string[]): Promise<CommandResult>
  /** Takes it down and starts it again, on the same data, ports and settings. */
  restart(): Promise<void>
}

export type StackDriver = 'bwrap' | 'docker'

/** What makes sandboxes in the tests' stacks; without an engine only bubblewrap. */
export const stackDrivers: readonly StackDriver[] =
  testDockerSocket() === undefined ? ['bwrap'] : ['bwrap', 'docker']

/** What `up` must be told for this driver. */
export function driverEnv(driver: StackDriver): Record<string, string> {
  if (driver === 'bwrap') return { RUNNER_DRIVER: 'bwrap' }
  return { RUNNER_DRIVER: 'docker', DOCKER_HOST: `unix://${testDockerSocket() ?? ''}` }
}

/** Starts a stack on a free port; disposing it takes everything down and deletes its data directory. `more` is for `up`. */
export async function startStack(
  driver: StackDriver = 'bwrap',
  more: Record<string, string> = {},
  data = mkdtempSync(join(tmpdir(), 'bmm-journey-')),
): Promise<Stack> {
  const env = { ...driverEnv(driver), ...more }
  const up = () => bmm(['up', '--data', data, '--port', '0', '--detach', '--json'], { env })
  const started = await up()
  if (started.code !== 0) {
    rmSync(data, { recursive: true, force: true })
    throw new Error(`up failed: ${started.stdout}${started.stderr}`)
  }
  const { gateway, grpc, mailbox } = upSchema.parse(JSON.parse(started.stdout))
  const attempt = (...words: string[]) => bmm([...words, '--data', data])
  return {
    gateway,
    grpc,
    data,
    mailbox,
    firstSlotUser: statSync(join(dirname(mailbox), 'slots', '0', 'c')).gid,
    attempt,
    async run(...words) {
      const { code, stdout, stderr } = await attempt(...words)
      if (code !== 0)
        throw new Error(`bmm ${words.join(' ')} ended with ${code}: ${stdout}${stderr}`)
      return stdout
    },
    async restart() {
      await bmm(['down', '--data', data])
      const { code, stdout, stderr } = await up()
      if (code !== 0) throw new Error(`up failed: ${stdout}${stderr}`)
    },
    async [Symbol.asyncDispose]() {
      await bmm(['down', '--data', data])
      rmSync(data, { recursive: true, force: true })
    },
  }
}

const mailSchema = z.object({ to: z.string(), subject: z.string(), text: z.string() })

/** The sign-in link in the newest mail to an address, waiting for it to arrive. */
export async function magicLink(mailbox: string, email: string): Promise<string> {
  const deadline = Date.now() + MAIL_TIMEOUT_MS
  while (Date.now() < deadline) {
    for (const name of readdirSync(mailbox).sort().reverse()) {
      if (!name.endsWith('.json')) continue
      const mail = mailSchema.parse(JSON.parse(readFileSync(join(mailbox, name), 'utf8')))
      const link = /https?:\/\/\S+/.exec(mail.text)?.[0]
      if (mail.to === email && link !== undefined) return link
    }
    await Bun.sleep(50)
  }
  throw new Error(`no mail to ${email} arrived`)
}
