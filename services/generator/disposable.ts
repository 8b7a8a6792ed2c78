/** Disposable children: hostile text goes in, bytes come out, and whatever happens in between happens to the child. */
import { readFileSync } from 'node:fs'

export type ChildLimits = {
  /** Of processor time: on a busy machine work takes longer and is still the same work. Three times that by the clock. */
  timeoutMs: number
  /** Resident memory, looked at every few milliseconds. */
  memoryBytes: number
  outputBytes: number
}

export type ChildEnding =
  | { kind: 'done'; output: Uint8Array }
  /** The child said no, with a reason of its own. */
  | { kind: 'refused'; output: Uint8Array }
  /** It died; `note` is the last line it wrote to stderr with a leading `@`. */
  | { kind: 'crashed'; note: string }
  | { kind: 'over'; sentence: string }

/** Exit code of a child that refuses; its output says why. */
export const REFUSED = 3

const WATCH_MS = 20
const PAGE_BYTES = 4_096
const MAX_NOTES = 64 * 1024
const CLOCK_FACTOR = 3
/** Linux shows times in hundredths of a second (proc(5)); the two fields count from the state, the third of the line. */
const TICK_MS = 10
const USER_TIME_FIELD = 11
/** The kernel's own limits stand behind the watch, for a child whose parent died. */
const HARD_CPU_FACTOR = 2
/** Near its data limit the engine collects garbage all the time: at twice the memory, work took three times as long. */
const HARD_DATA_FACTOR = 8

export type RunOptions = {
  signal?: AbortSignal | undefined
  /** Gets the output as it comes, and all of it again at the end. */
  onOutput?: ((chunk: Uint8Array) => void) | undefined
}

/** A child that has loaded its program, or is about to, and waits for its input. It takes one and ends. */
export type DisposableChild = {
  /** Rejects only when the signal aborts; the child is gone when this settles. */
  run(input: Uint8Array, options?: RunOptions): Promise<ChildEnding>
  isAlive(): boolean
  kill(): void
}

export type StartChild = () => DisposableChild

/** Starts a program of ours in a child without environment, working directory or descriptors but its pipes. */
export function startDisposable(program: string, limits: ChildLimits): DisposableChild {
  const child = Bun.spawn([...kernelLimits(limits), process.execPath, ...bunFlags, program], {
    ...{ stdin: 'pipe', stdout: 'pipe', stderr: 'pipe', env: {}, cwd: '/' },
  })
  return {
    run: (input, options = {}) => run(child, input, limits, options),
    isAlive: () => child.exitCode === null && child.signalCode === null,
    kill: () => child.kill('SIGKILL'),
  }
}

type Child = Bun.Subprocess<'pipe', 'pipe', 'pipe'>

async function run(
  child: Child,
  input: Uint8Array,
  limits: ChildLimits,
  { signal, onOutput }: RunOptions,
): Promise<ChildEnding> {
  let over: string | undefined
  const end = (sentence: string) => {
    over ??= sentence
    child.kill('SIGKILL')
  }
  const abort = () => child.kill('SIGKILL')
  signal?.addEventListener('abort', abort)
  const late = () => end(`It took longer than ${limits.timeoutMs / 1_000} s.`)
  const deadline = setTimeout(late, limits.timeoutMs * CLOCK_FACTOR)
  const watch = setInterval(() => {
    if (processorMs(child.pid) > limits.timeoutMs) late()
    if (residentBytes(child.pid) > limits.memoryBytes) {
      end(`It needed more than ${Math.round(limits.memoryBytes / 1024 / 1024)} MB of memory.`)
    }
  }, WATCH_MS)
  const tooMuch = () =>
    end(`It gave more than ${Math.round(limits.outputBytes / 1024 / 1024)} MB of output.`)
  try {
    signal?.throwIfAborted()
    const [output, notes] = await Promise.all([
      capped(child.stdout, limits.outputBytes, tooMuch, onOutput),
      capped(child.stderr, MAX_NOTES, () => child.kill('SIGKILL')),
      feed(child.stdin, input),
    ])
    const code = await child.exited
    signal?.throwIfAborted()
    if (over !== undefined) return { kind: 'over', sentence: over }
    if (code === 0) return { kind: 'done', output }
    return code === REFUSED ? { kind: 'refused', output } : { kind: 'crashed', note: noteIn(notes) }
  } finally {
    clearTimeout(deadline)
    clearInterval(watch)
    signal?.removeEventListener('abort', abort)
    child.kill('SIGKILL')
  }
}

const bunFlags = ['--smol', '--no-install', '--no-env-file', '--no-macros']

function kernelLimits({ timeoutMs, memoryBytes }: ChildLimits): string[] {
  const prlimit = Bun.which('prlimit')
  const setpriv = Bun.which('setpriv')
  const seconds = Math.ceil((timeoutMs * HARD_CPU_FACTOR) / 1_000)
  return [
    ...(setpriv === null ? [] : [setpriv, '--pdeathsig', 'SIGKILL', '--no-new-privs', '--']),
    ...(prlimit === null
      ? []
      : [
          prlimit,
          `--data=${memoryBytes * HARD_DATA_FACTOR}`,
          `--cpu=${seconds}`,
          '--core=0',
          '--',
        ]),
  ]
}

/** 0 where the system does not tell, or the process is gone. */
function residentBytes(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ', 2)[1]) * PAGE_BYTES
  } catch {
    return 0
  }
}

/** User and system time of all threads. */
function processorMs(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[USER_TIME_FIELD]) + Number(fields[USER_TIME_FIELD + 1])) * TICK_MS
  } catch {
    return 0
  }
}

/** A child that died early closes its end: what its exit says counts, not the broken pipe. */
async function feed(stdin: Bun.FileSink, input: Uint8Array): Promise<void> {
  try {
    await stdin.write(input)
    await stdin.end()
  } catch {}
}

async function capped(
  stream: ReadableStream<Uint8Array>,
  limit: number,
  onOver: () => void,
  onChunk?: (chunk: Uint8Array) => void,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const chunk of stream) {
    size += chunk.length
    if (size > limit) {
      onOver()
      return new Uint8Array()
    }
    parts.push(chunk)
    onChunk?.(chunk)
  }
  return Buffer.concat(parts)
}

function noteIn(notes: Uint8Array): string {
  const lines = Buffer.from(notes).toString('utf8').split('\n')
  return lines.findLast((line) => line.startsWith('@'))?.slice(1) ?? ''
}
