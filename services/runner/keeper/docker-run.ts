/** What a wake is compared with: `docker run` of the same root file system, to the first HTTP answer of an echo tool. Arguments: the engine's socket. */
import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  bunFlags,
  SANDBOX_HOSTNAME,
  sandboxClasses,
  sandboxLimits,
  sandboxPaths,
} from '../sandbox/sandbox-limits.ts'
import { type DockerEngine, dockerEngine } from './docker-engine.ts'
import { openImage } from './docker-image.ts'
import { bundleGuest, makeRootfs } from './rootfs.ts'

const USER = 65_532
const POLL_MS = 1
const TIMEOUT_MS = 30_000
const STACK = `bmm-docker-run-${process.pid}`

/** The least that answers the call over HTTP: it checks nothing, and knows no sandbox, schema or protocol era. */
const server = `
Bun.serve({
  unix: '${sandboxPaths.calls}/http.sock',
  async fetch(request) {
    const { id, params } = await request.json()
    const content = [{ type: 'text', text: params.arguments.text }]
    return Response.json({ jsonrpc: '2.0', id, result: { resultType: 'complete', content } })
  },
})
`
const call = JSON.stringify({
  ...{ jsonrpc: '2.0', id: 1, method: 'tools/call' },
  params: { name: 'echo', arguments: { text: 'awake' } },
})

const [socket] = process.argv.slice(2)
if (socket === undefined) throw new Error('the socket of the engine is missing')
await answerRounds(socket)
process.exit()

/** Says `ready`, then for each line of standard input how many milliseconds one container took. */
async function answerRounds(socket: string): Promise<void> {
  const engine = dockerEngine(socket)
  const folder = mkdtempSync(join(tmpdir(), 'bmm-docker-run-'))
  let image = ''
  try {
    const directory = join(folder, 'rootfs')
    const rootfs = await makeRootfs({
      ...{ directory, bun: process.execPath, guest: await bundleGuest() },
    })
    image = await openImage(engine, STACK, rootfs)
    process.stdout.write('ready\n')
    for await (const chunk of Bun.stdin.stream()) {
      for (const byte of chunk) {
        if (byte === '\n'.charCodeAt(0)) {
          process.stdout.write(`${await firstAnswerMs(engine, socket, image, folder)}\n`)
        }
      }
    }
  } finally {
    await engine.remove(STACK)
    if (image !== '') await engine.removeImage(image)
    rmSync(folder, { recursive: true, force: true })
  }
}

/** From the command to the answer; nothing is left of it afterwards. */
async function firstAnswerMs(
  engine: DockerEngine,
  socket: string,
  image: string,
  home: string,
): Promise<number> {
  const folder = join(home, 'run')
  mkdirSync(folder)
  writeFileSync(join(folder, 'server.js'), server)
  chownSync(folder, USER, USER)
  const begun = performance.now()
  const run = Bun.spawn(dockerRun(socket, image, { home, folder }), {
    ...{ stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' },
  })
  try {
    await answerOf(join(folder, 'http.sock'), run)
    return performance.now() - begun
  } finally {
    await run.exited
    await engine.remove(STACK)
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The same limits and walls as a sandbox has, but docker's own seccomp profile: with ours nothing could listen. */
function dockerRun(
  socket: string,
  image: string,
  { home, folder }: { home: string; folder: string },
): string[] {
  const { memoryBytes } = sandboxClasses.standard
  const { cpuPeriodUs, cpuQuotaUs, processes, openFiles, coreBytes, fileBytes } = sandboxLimits
  return [
    ...['docker', '--config', home, '--host', `unix://${socket}`],
    ...['run', '--detach', '--name', STACK],
    ...['--network', 'none', '--ipc', 'none', '--read-only', '--log-driver', 'none'],
    ...['--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--user', `${USER}:${USER}`],
    ...[`--memory=${memoryBytes}`, `--memory-swap=${memoryBytes}`, `--pids-limit=${processes}`],
    ...[`--cpu-period=${cpuPeriodUs}`, `--cpu-quota=${cpuQuotaUs}`],
    ...[
      `--ulimit=nofile=${openFiles}`,
      `--ulimit=core=${coreBytes}`,
      `--ulimit=fsize=${fileBytes}`,
    ],
    ...['--hostname', SANDBOX_HOSTNAME, '--workdir', sandboxPaths.workDir],
    ...['--volume', `${folder}:${sandboxPaths.calls}`, image],
    ...[sandboxPaths.bun, ...bunFlags, join(sandboxPaths.calls, 'server.js')],
  ]
}

async function answerOf(unix: string, run: Bun.Subprocess<'ignore', 'ignore', 'pipe'>) {
  const deadline = performance.now() + TIMEOUT_MS
  while (performance.now() < deadline) {
    const asked = fetch('http://container/', { unix, method: 'POST', body: call, keepalive: false })
    const text = await asked.then((answer) => answer.text()).catch(() => undefined)
    if (text?.includes('awake') === true) return
    if (text !== undefined) throw new Error(`the container answered ${text}`)
    if (run.exitCode !== null && run.exitCode !== 0) break
    await Bun.sleep(POLL_MS)
  }
  throw new Error(`docker run did not answer: ${await new Response(run.stderr).text()}`)
}
