/** Which driver a stack on this machine uses, and why: the one asked for, else bubblewrap where it works, else Docker, else none. */
import { type DriverName, driverNames } from './driver.ts'
import { probeBwrap, probeDocker } from './probe.ts'

export type Choice = { driver: DriverName; why: string } | { refused: string }
type Probe = () => Promise<{ ok: true; detail: string } | { ok: false; reason: string }>

/** Probes no more than it must. */
export async function chooseDriver(
  asked: DriverName | undefined,
  probes: Record<DriverName, Probe>,
): Promise<Choice> {
  if (asked !== undefined) {
    const probe = await probes[asked]()
    if (!probe.ok) return { refused: `RUNNER_DRIVER asks for ${asked}. ${probe.reason}` }
    return { driver: asked, why: `asked for by RUNNER_DRIVER: ${probe.detail}` }
  }
  const bwrap = await probes.bwrap()
  if (bwrap.ok) return { driver: 'bwrap', why: `${bwrap.detail}; no daemon needed` }
  const docker = await probes.docker()
  if (docker.ok) return { driver: 'docker', why: `${docker.detail}. ${bwrap.reason}` }
  const reasons = `bubblewrap: ${bwrap.reason} Docker: ${docker.reason}`
  return { refused: `Nothing on this machine can make a sandbox. ${reasons}` }
}

/** Arguments: driver asked for or nothing, the engine's socket, its runtime or nothing. Prints one line of JSON. */
if (import.meta.main) {
  const [asked = '', socket = '', runtime = ''] = process.argv.slice(2)
  const choice = await chooseDriver(
    driverNames.find((name) => name === asked),
    {
      bwrap: probeBwrap,
      docker: () => probeDocker(socket, runtime === '' ? undefined : runtime),
    },
  )
  process.stdout.write(`${JSON.stringify(choice)}\n`)
}
