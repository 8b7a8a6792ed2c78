/** Attempts on what all sandboxes share: memory, processor, threads, descriptors, pipes, the runner's patience. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import type { Attempt, Group, Scene } from './attempt.ts'

const MAX_THREADS = 100
/** Half a core is what it may have; the rest is room for the clock's steps. */
const MAX_SHARE = 0.7
const CLOCK_TICK_MS = 10
const BOMB_MS = 4_000
/** What it writes is written by then. */
const WRITTEN_MS = 1_500

const oom = {
  ends: ['oom'],
  message: 'The sandbox needed more than its 128 MB of memory and was ended.',
} as const

const memory: readonly Attempt[] = [
  {
    intent: 'take all memory',
    code: `const hog = []; for (;;) { hog.push(new Uint8Array(8 * 1024 * 1024).fill(1)); await Bun.sleep(0) }`,
    seen: oom,
  },
  {
    intent: 'take all memory past the garbage collector',
    code: `for (let n = 0; ; n++) { const at = call(9, 0, 16 << 20, 3, 0x22, -1, 0); new Uint8Array(toArrayBuffer(at, 0, 16 << 20)).fill(1); await Bun.sleep(0) }`,
    seen: oom,
  },
  {
    intent: 'unpack a bomb',
    code: `const bomb = Bun.gzipSync(new Uint8Array(32 << 20)); const all = []; for (;;) all.push(Bun.gunzipSync(bomb).fill(1))`,
    seen: oom,
  },
  {
    intent: 'double a text until nothing is left',
    code: `let text = 'x'; for (;;) { text += text; text.charCodeAt(text.length - 1) }`,
    seen: { ends: ['oom', 'exited', 'protocol'] },
  },
  {
    intent: 'recurse without end',
    code: `const down = (n) => down(n + 1) + 1; return down(0)`,
    seen: { error: /stack/i },
  },
  {
    intent: 'nest JSON two hundred thousand deep',
    code: `return JSON.parse('['.repeat(2e5) + ']'.repeat(2e5))`,
    seen: { error: /./ },
  },
].map((attempt) => ({ ...attempt, alone: true, timeoutMs: 60_000 }) as Attempt)

const processor: readonly Attempt[] = [
  {
    intent: 'take a whole core',
    code: 'for (;;) {}',
    seen: { ends: ['deadline'] },
    timeoutMs: 3_000,
    watch: heldToHalfACore,
  },
  {
    intent: 'take all cores by threads',
    code: `const { pbkdf2 } = await import('node:crypto')
      for (let n = 0; n < 8; n++) pbkdf2('x', 'y', 2 ** 31 - 1, 64, 'sha512', () => {})
      await forever()`,
    // Its first thread goes on, so the sandbox does: held to its share.
    seen: { fails: 'deadline' },
    timeoutMs: 3_000,
    watch: heldToHalfACore,
  },
  {
    intent: 'have as many threads as there are',
    code: `for (let n = 0; n < 400; n++) { try { new Worker('/app/rehearsal.js') } catch {} }
      await forever()`,
    seen: { ends: ['deadline', 'protocol', 'exited', 'oom'] },
    timeoutMs: BOMB_MS,
    watch: heldToAHundredThreads,
  },
  {
    intent: 'match a pattern that takes for ever',
    code: `return Array.from({ length: 200 }, () => /^(?:(a+)+)+(?:b|c\\1)$/.test('a'.repeat(60) + '!')).length`,
    seen: { ends: ['deadline'] },
    timeoutMs: 1_500,
  },
  {
    intent: 'sleep in the kernel so that nothing else runs',
    code: `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)`,
    seen: { ends: ['deadline'] },
    timeoutMs: 1_500,
  },
].map((attempt) => ({ ...attempt, alone: true }) as Attempt)

const counted: readonly Attempt[] = [
  {
    intent: 'open more files than it may',
    code: `const open = []
      try { for (;;) open.push(fs.openSync('/app/guest.js')) } catch (error) { for (const fd of open) fs.closeSync(fd); return [error.code, open.length < 64] }`,
    seen: { answer: ['EMFILE', true] },
  },
  {
    intent: "use up its user's pipes",
    code: `const open = [], pair = new Int32Array(2)
      for (;;) { const made = call(293, ptr(pair), 0); if (made < 0) { for (const fd of open) fs.closeSync(fd); return [made, open.length < 64] } open.push(pair[0], pair[1]) }`,
    seen: { answer: [-24, true] },
  },
  {
    intent: 'use up timers and event descriptors of the kernel',
    code: `const made = []
      for (;;) { const fd = call(290, 0, 0); if (fd < 0) { for (const each of made) fs.closeSync(each); return [fd, made.length < 64] } made.push(fd) }`,
    seen: { answer: [-24, true] },
  },
  {
    intent: 'watch files, of which a user has few watches',
    code: `return tried(() => fs.watch('/app'), () => fs.watch('/run/bmm/c'), () => fs.watchFile('/app/guest.js', () => {}) && Promise.reject(new Error('by polling only')))`,
    seen: { refused: true },
    alone: true,
  },
  {
    intent: 'answer with more than is allowed',
    code: `return 'x'.repeat(9 * 1024 * 1024)`,
    seen: { fails: 'result_too_large' },
    alone: true,
  },
  {
    intent: 'fill the log by the console',
    code: `for (let n = 0; n < 100_000; n++) console.log('x'.repeat(100)); await forever()`,
    seen: { ends: ['protocol'], detail: /too much progress or log/ },
    alone: true,
  },
  {
    intent: 'fill the log by ctx.log, and be cut short',
    code: `for (let n = 0; n < 100_000; n++) ctx.log('x'.repeat(10_000)); return 'well'`,
    seen: { answer: 'well' },
    alone: true,
  },
  {
    intent: 'fill the disk by its error stream',
    code: `for (let n = 0; n < 1000; n++) { try { fs.writeSync(2, 'x'.repeat(10_000)) } catch {} } return 'well'`,
    seen: { answer: 'well' },
    alone: true,
    watch: leavesLittle,
  },
  {
    // It is emptied outside of the sandbox's limits.
    intent: 'have the container engine work at carrying its output away',
    code: `return [0, 1, 2].filter((fd) => fs.fstatSync(fd).isFIFO())`,
    seen: { answer: [] },
  },
  {
    intent: 'begin ten thousand requests at once',
    code: `const asked = await Promise.allSettled(Array.from({ length: 10_000 }, () => ctx.fetch('https://api.example.com/')))
      return asked.length`,
    seen: { answer: 10_000 },
    alone: true,
  },
]

/** By the processor's own count, for as long as it spins. */
async function heldToHalfACore({ stack, sandbox }: Scene): Promise<void> {
  await Bun.sleep(500)
  const cpuMs = () =>
    stack.processesOf(sandbox.slot).reduce((sum, pid) => sum + processorMs(pid), 0)
  // In this order the time is never shorter than what is counted in it.
  const before = { at: performance.now(), cpu: cpuMs() }
  await Bun.sleep(1_500)
  const share = (cpuMs() - before.cpu) / (performance.now() - before.at)
  if (share > MAX_SHARE) throw new Error(`it had ${share} of a core`)
}

function processorMs(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) * CLOCK_TICK_MS
  } catch {
    return 0
  }
}

async function heldToAHundredThreads({ stack, sandbox }: Scene): Promise<void> {
  let most = 0
  for (const end = performance.now() + BOMB_MS - 500; performance.now() < end; ) {
    most = Math.max(most, ...stack.processesOf(sandbox.slot).map(threadsOf))
    await Bun.sleep(10)
  }
  if (most === 0 || most > MAX_THREADS) throw new Error(`it had ${most} threads`)
}

/** 0 when it has just gone. */
function threadsOf(pid: number): number {
  try {
    return Number(/^Threads:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    return 0
  }
}

/** Bubblewrap's is kept for the operator, 64 KB at most; docker keeps none. */
async function leavesLittle({ driver, stack, sandbox }: Scene): Promise<void> {
  await Bun.sleep(WRITTEN_MS)
  const file = `${stack.slotsDir}/${sandbox.slot}/stderr`
  const left = existsSync(file) ? statSync(file).size : 0
  if (left > (driver === 'bwrap' ? 64 * 1024 : 0)) throw new Error(`${left} bytes stay behind`)
}

export const resources: Group = {
  name: 'resources',
  attempts: [...memory, ...processor, ...counted],
}
