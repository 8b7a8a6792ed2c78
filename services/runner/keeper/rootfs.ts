/** The sandboxes' root file system from local files: the pinned Bun, the libraries it names, the guest. Named by digest, read-only. */
import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { rehearsalModule } from '../guest/rehearsal-module.ts'
import { sandboxPaths } from '../sandbox/sandbox-limits.ts'
import { currentArchitecture, stageOne } from '../sandbox/seccomp.ts'

export type Rootfs = {
  path: string
  /** The stage-one filter beside it. */
  seccompFile: string
}

/** What this file makes: nothing else is ever removed, whatever folder the configuration names. */
const ours = /^([0-9a-f]{32}|draft-\d+)$/

/** Mount points and folders that must exist, since nothing can be made later. */
const emptyDirectories = ['proc', 'dev', 'run/bmm/c', 'run/bmm/e', 'bin', 'app']

/**
 * Makes the root file system below `directory` unless it is there, and removes older ones. `directory` belongs to root and
 * to one stack. Only call it while no sandbox runs.
 */
export async function makeRootfs(options: {
  directory: string
  bun: string
  guest: Uint8Array
}): Promise<Rootfs> {
  const files = [
    { from: options.bun, to: sandboxPaths.bun },
    ...(await libraries(options.bun)).map((path) => ({ from: path, to: path })),
  ]
  const filter = stageOne(currentArchitecture())
  const code = [
    { to: sandboxPaths.guest, content: options.guest },
    { to: sandboxPaths.rehearsal, content: rehearsalModule },
  ]
  const name = digestOf(files, [...code.map(({ content }) => content), filter])
  mkdirSync(options.directory, { recursive: true, mode: 0o755 })
  const path = join(options.directory, name)
  if (!existsSync(path)) {
    const draft = join(options.directory, `draft-${process.pid}`)
    rmSync(draft, { recursive: true, force: true })
    for (const directory of emptyDirectories)
      mkdirSync(join(draft, 'root', directory), { recursive: true })
    for (const file of files) copy(file.from, join(draft, 'root', file.to))
    for (const { to, content } of code) {
      writeFileSync(join(draft, 'root', to), content, { mode: 0o444 })
    }
    writeFileSync(join(draft, 'stage-one.bpf'), filter, { mode: 0o444 })
    renameSync(draft, path)
  }
  for (const entry of readdirSync(options.directory)) {
    if (entry !== name && ours.test(entry))
      rmSync(join(options.directory, entry), { recursive: true, force: true })
  }
  return { path: join(path, 'root'), seccompFile: join(path, 'stage-one.bpf') }
}

/** The guest and all it imports as one file; only ever run on our own sources, since Bun's bundler runs macros. */
export async function bundleGuest(): Promise<Uint8Array> {
  const built = await Bun.build({
    entrypoints: [join(import.meta.dirname, '../guest/main.ts')],
    target: 'bun',
    format: 'esm',
    minify: { syntax: true, whitespace: true },
  })
  const output = built.outputs[0]
  if (!built.success || !output)
    throw new Error(`the guest cannot be bundled: ${built.logs.join('; ')}`)
  return new Uint8Array(await output.arrayBuffer())
}

/** Bun is 100 MB: its size and time of change stand for its content, the small rest is hashed whole. */
function digestOf(
  files: { from: string; to: string }[],
  contents: readonly (string | Uint8Array)[],
): string {
  const hash = new Bun.CryptoHasher('sha256')
  for (const file of files) {
    const stat = statSync(file.from, { bigint: true })
    hash.update(`${file.to}\0${file.from}\0${stat.size}\0${stat.mtimeNs}\0${stat.ino}\n`)
  }
  for (const content of contents) hash.update(content)
  return hash.digest('hex').slice(0, 32)
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true, mode: 0o755 })
  copyFileSync(from, to, constants.COPYFILE_FICLONE)
  chmodSync(to, 0o555)
}

/** The dynamic loader and the libraries of a binary, as the loader itself resolves them. */
async function libraries(binary: string): Promise<string[]> {
  const ldd = Bun.spawn(['ldd', binary], { stdout: 'pipe', stderr: 'pipe', env: { LC_ALL: 'C' } })
  const text = await new Response(ldd.stdout).text()
  if ((await ldd.exited) !== 0) {
    throw new Error(`ldd cannot read ${binary}: ${(await new Response(ldd.stderr).text()).trim()}`)
  }
  const paths = text
    .split('\n')
    .map((line) => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1])
    .filter((path) => path !== undefined)
  if (!paths.some((path) => /\/libc\.so/.test(path)) || !paths.some((path) => /\/ld-/.test(path))) {
    throw new Error(`${binary} is not linked against a C library that sandboxes know`)
  }
  return paths
}
