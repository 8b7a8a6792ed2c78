/** What makes a stack's sandboxes: the driver that the operator asked for, or the one that works on this machine. */
import { join } from 'node:path'
import { z } from 'zod'
import { type CliEnv, checkout } from '../config.ts'
import { failed, misused } from '../fault.ts'

const DOCKER_SOCKET = '/var/run/docker.sock'
const PROBE_TIMEOUT_MS = 60_000

export const driverWishSchema = z.object({
  /** Undefined: whatever works. */
  driver: z.enum(['bwrap', 'docker']).optional(),
  dockerSocket: z.string(),
  dockerRuntime: z.string().optional(),
})
export type DriverWish = z.infer<typeof driverWishSchema>

export const chosenDriverSchema = z.object({ driver: z.enum(['bwrap', 'docker']), why: z.string() })
export type ChosenDriver = z.infer<typeof chosenDriverSchema>

const choiceSchema = z.union([chosenDriverSchema, z.object({ refused: z.string() })])

/** Throws CommandFault where a variable cannot be meant. */
export function driverWish(env: CliEnv): DriverWish {
  const { RUNNER_DRIVER: driver, DOCKER_HOST: host, BMM_DOCKER_RUNTIME: runtime } = env
  if (driver && driver !== 'bwrap' && driver !== 'docker') {
    throw misused('RUNNER_DRIVER is neither bwrap nor docker.')
  }
  const socket = /^unix:\/\/(\/.+)$/.exec(host ?? '')?.[1]
  if (driver === 'docker' && host && socket === undefined) {
    throw misused(
      'DOCKER_HOST: the sandboxes need an engine of this machine, as in unix:///var/run/docker.sock.',
    )
  }
  if (runtime && !/^[\w.-]{1,100}$/.test(runtime)) {
    throw misused('BMM_DOCKER_RUNTIME is not the name of a runtime.')
  }
  // Never left aside in silence: whoever asks for another runtime relies on its walls.
  if (runtime && driver !== 'docker') {
    throw misused(
      'BMM_DOCKER_RUNTIME is for containers: set RUNNER_DRIVER=docker, or leave it out.',
    )
  }
  return driverWishSchema.parse({
    ...(driver ? { driver } : {}),
    dockerSocket: socket ?? DOCKER_SOCKET,
    ...(runtime ? { dockerRuntime: runtime } : {}),
  })
}

/** Tries on this machine; throws CommandFault with the reason when nothing works. */
export async function chooseDriver(wish: DriverWish): Promise<ChosenDriver> {
  const main = join(checkout, 'services/runner/keeper/choose-driver.ts')
  const asked = [wish.driver ?? '', wish.dockerSocket, wish.dockerRuntime ?? '']
  const child = Bun.spawn([process.execPath, '--no-env-file', '--no-install', main, ...asked], {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: PROBE_TIMEOUT_MS,
  })
  const text = await new Response(child.stdout).text()
  if ((await child.exited) !== 0) {
    throw failed('driver_unknown', 'It could not be found out what makes sandboxes here.')
  }
  const choice = choiceSchema.parse(JSON.parse(text))
  if ('refused' in choice) throw failed('no_driver', choice.refused)
  return choice
}
