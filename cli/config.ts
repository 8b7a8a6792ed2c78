/** Where this checkout lies and which environment variables the command line reads. */
import { join } from 'node:path'

export type CliEnv = Readonly<Record<string, string | undefined>>

/** The folder of this checkout. */
export const checkout = join(import.meta.dir, '..')

/** The data directory when none is given. */
export const defaultData = join(checkout, '.bmm')

/** The environment of this process. */
export function environment(): CliEnv {
  return process.env
}

/** From now on this process sends requests for its own machine past the proxy of the shell; Bun's fetch reads these two. */
export function keepLoopbackDirect(env: Record<string, string | undefined> = process.env): void {
  const kept = env.no_proxy ?? env.NO_PROXY ?? ''
  if (kept.split(',').includes('127.0.0.1')) return
  const list = kept === '' ? '127.0.0.1' : `${kept},127.0.0.1`
  env.no_proxy = list
  env.NO_PROXY = list
}

/** Variables with passwords in them, which the supervisor gets by another way or not at all. */
const secretVariables = ['DATABASE_URL', 'REDIS_URL', 'BMM_SMTP_URL', 'BMM_TOKEN']

/** The environment of the processes that a start leaves behind. */
export function environmentWithoutSecrets(env: CliEnv = environment()): CliEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !secretVariables.includes(name)))
}

/** Whether installing software on this machine is forbidden. */
export function installsForbidden(env: CliEnv = environment()): boolean {
  return env.BMM_NO_INSTALL === '1'
}

/** The service token to act by instead of a session, when there is one. */
export function serviceToken(env: CliEnv = environment()): string | undefined {
  return env.BMM_TOKEN === '' ? undefined : env.BMM_TOKEN
}
