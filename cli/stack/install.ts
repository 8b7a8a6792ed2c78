/** Programs of the host that the stack needs: found on PATH, else installed from Debian, never as a system service. */
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { checkout, environment, installsForbidden } from '../config.ts'
import { failed } from '../fault.ts'

const APT_LOCK_SECONDS = 300
const OTHERS_READ = 0o004
/** Where Debian's packages have their programs. */
const PROGRAM_FOLDERS = ['usr/sbin', 'usr/bin', 'sbin', 'bin']

/** One program under any of its names, and the Debian package that brings it; a library is known by its file. */
type Program = { names: string[]; debian: string; purpose: string; file?: string }

const sandboxTool = { names: ['bwrap'], debian: 'bubblewrap', purpose: 'sandboxes' }
/**
 * `redis-server` as a package would start a system service for ever; the checker of `redis-tools` is the
 * same multi-call program under another name.
 */
const redis = {
  names: ['redis-server', 'valkey-server', 'redis-check-rdb'],
  debian: 'redis-tools',
  purpose: 'Redis',
}
/** A gRPC client that is not of our making, and what makes its stubs of the contracts. */
const pythonGrpc: Program[] = [
  {
    names: [],
    file: '/usr/lib/python3/dist-packages/grpc/__init__.py',
    debian: 'python3-grpcio',
    purpose: 'gRPC of Python',
  },
  {
    names: [],
    file: '/usr/include/google/protobuf/descriptor.proto',
    debian: 'libprotobuf-dev',
    purpose: 'stubs for Python',
  },
  { names: ['protoc'], debian: 'protobuf-compiler', purpose: 'stubs for Python' },
  { names: ['grpc_python_plugin'], debian: 'protobuf-compiler-grpc', purpose: 'stubs for Python' },
]
const base = [
  { names: ['setpriv'], debian: 'util-linux', purpose: 'dropping privileges' },
  { names: ['unshare'], debian: 'util-linux', purpose: 'namespaces' },
  { names: ['mount'], debian: 'mount', purpose: 'namespaces' },
]

/**
 * Finds or installs all that a stack needs; `say` gets a sentence before each installation. Where bubblewrap is only
 * wanted, a machine that cannot install it goes on without.
 */
export async function installPrograms(
  options: { redis: boolean; bwrap: 'needed' | 'wanted' | 'no'; pythonGrpc?: boolean },
  say: (line: string) => void,
): Promise<void> {
  const needed = [
    ...base,
    ...(options.bwrap === 'needed' ? [sandboxTool] : []),
    ...(options.redis ? [redis] : []),
    ...(options.pythonGrpc === true ? pythonGrpc : []),
  ].filter(isMissing)
  const wanted = [...(options.bwrap === 'wanted' ? [sandboxTool] : [])].filter(isMissing)
  const missing = [...needed, ...wanted]
  if (missing.length === 0) return
  const fault = installFault(missing)
  if (fault === undefined) {
    const names = packagesOf(missing)
    say(`installing ${names.join(', ')} (apt-get): ${purposesOf(missing)}`)
    const installed = await aptInstall(names)
    if (installed || needed.length === 0) return
    throw failed(
      'install_failed',
      `apt-get could not install ${names.join(', ')}: try "apt-get update && apt-get install ${names.join(' ')}" and read what it says.`,
    )
  } else if (needed.length > 0) {
    const instead = options.redis ? ' (instead of a Redis here: REDIS_URL)' : ''
    throw failed(fault.code, `${fault.message}${instead}`)
  }
}

/**
 * Where the first program of a package is to be found: on PATH, else below `folder`, into which the package and what it
 * needs are unpacked. Nothing is configured, and no service is set up or started.
 */
export async function unpackPrograms(
  program: Program,
  folder: string,
  say: (line: string) => void,
): Promise<{ PATH: string; LD_LIBRARY_PATH?: string }> {
  const host = { PATH: `${environment().PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin` }
  const own = {
    PATH: [...PROGRAM_FOLDERS.map((each) => join(folder, each)), host.PATH].join(':'),
    LD_LIBRARY_PATH: libraryFolders()
      .map((each) => join(folder, each))
      .join(':'),
  }
  const isIn = ({ PATH }: { PATH: string }) =>
    program.names.some((name) => Bun.which(name, { PATH }) !== null)
  if (isIn(host)) return host
  if (isIn(own)) return own
  const fault = installFault([program])
  if (fault !== undefined) throw failed(fault.code, fault.message)
  say(`unpacking ${program.debian} into ${folder} (apt-get): ${purposesOf([program])}`)
  const archives = join(folder, 'archives')
  mkdirSync(join(archives, 'partial'), { recursive: true })
  const only = ['--download-only', '-o', `Dir::Cache::archives=${archives}`]
  const done = (await aptInstall([...only, program.debian])) && (await unpackAll(archives, folder))
  rmSync(archives, { recursive: true, force: true })
  if (done && isIn(own)) return own
  throw failed('install_failed', `apt-get could not bring ${program.debian}: install it yourself.`)
}

/** The folders of libraries in a package for this machine's architecture. */
function libraryFolders(): string[] {
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
  return [`usr/lib/${triplet}`, `lib/${triplet}`]
}

async function unpackAll(archives: string, folder: string): Promise<boolean> {
  for (const name of readdirSync(archives).filter((each) => each.endsWith('.deb'))) {
    const unpacked = Bun.spawn(['dpkg-deb', '-x', join(archives, name), folder], {
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    if ((await unpacked.exited) !== 0) return false
  }
  return true
}

/** Why these programs cannot be installed by this process, with what to do; undefined when they can. */
function installFault(missing: Program[]): { code: string; message: string } | undefined {
  const names = packagesOf(missing).join(', ')
  const what = `Missing: ${purposesOf(missing)}.`
  if (installsForbidden()) {
    const message = `${what} BMM_NO_INSTALL=1 forbids installing; install ${names} yourself.`
    return { code: 'install_forbidden', message }
  }
  const root = process.getuid?.() === 0
  if (root && Bun.which('apt-get') !== null && existsSync('/etc/debian_version')) return undefined
  return { code: 'program_missing', message: `${what} Install ${names} with your package manager.` }
}

function isMissing({ names, file }: Program): boolean {
  return file === undefined ? findProgram(names) === undefined : !existsSync(file)
}

function packagesOf(programs: Program[]): string[] {
  return [...new Set(programs.map((program) => program.debian))]
}

function purposesOf(programs: Program[]): string {
  return programs
    .map((program) => `${program.names[0] ?? program.debian} (${program.purpose})`)
    .join(', ')
}

/** Services run as users of their own: throws CommandFault when a strict umask has closed the checkout to them. */
export function requireOpenCheckout(): void {
  const needed = ['.', 'lib', 'services', 'services/auth/main.ts', 'node_modules/.bun']
  const closed = needed.find((path) => (statSync(join(checkout, path)).mode & OTHERS_READ) === 0)
  if (closed === undefined) return
  throw failed(
    'checkout_closed',
    `The services run as users of their own and cannot read ${join(checkout, closed)}: chmod -R go+rX ${checkout}`,
  )
}

/** The Redis program of this machine; throws CommandFault when installPrograms did not bring it. */
export function redisProgram(): string {
  const found = findProgram(redis.names)
  if (found === undefined) throw failed('program_missing', 'There is no Redis on this machine.')
  return found
}

function findProgram(names: readonly string[]): string | undefined {
  for (const name of names) {
    const path = Bun.which(name)
    if (path !== null) return path
  }
  return undefined
}

async function aptInstall(names: string[]): Promise<boolean> {
  if (await apt(['install', '--yes', '--no-install-recommends', ...names])) return true
  // A bare machine has no package lists, an old one has lists of versions that are gone.
  const updated = await apt(['update'])
  return updated && (await apt(['install', '--yes', '--no-install-recommends', ...names]))
}

async function apt(args: string[]): Promise<boolean> {
  const process = Bun.spawn(
    ['apt-get', '-qq', '-o', `DPkg::Lock::Timeout=${APT_LOCK_SECONDS}`, ...args],
    {
      env: { ...Bun.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  await new Response(process.stderr).text()
  return (await process.exited) === 0
}
