/** Memory of processes over time: sampled, and judged by whether it still grows at the end. */
import type { Stack } from '@bmm/tests/stack'
import { median } from '../figure.ts'
import { ownBytes, servicesOf } from './leftovers.ts'

const EVERY_MS = 2_000
const MEBIBYTE = 1024 * 1024
/** What collectors of garbage move up and down by themselves. */
const SLACK_BYTES = 24 * MEBIBYTE
const SLACK_SHARE = 0.2

export type Memory = { name: string; start: number; middle: number; end: number; perMinute: number }

/** Samples until it is stopped; the answer tells of each process. */
export function watchMemory(stack: Stack): () => Memory[] {
  const samples = new Map<string, { at: number; bytes: number }[]>()
  const begun = performance.now()
  const timer = setInterval(() => {
    for (const [name, pid] of servicesOf(stack)) {
      const line = samples.get(name) ?? []
      line.push({ at: performance.now() - begun, bytes: ownBytes(pid) })
      samples.set(name, line)
    }
  }, EVERY_MS)
  return () => {
    clearInterval(timer)
    return [...samples].map(([name, line]) => {
      const part = (from: number, to: number) =>
        median(
          line
            .slice(Math.floor(line.length * from), Math.ceil(line.length * to))
            .map(({ bytes }) => bytes),
        )
      return {
        name,
        start: part(0, 0.1),
        middle: part(0.4, 0.6),
        end: part(0.85, 1),
        perMinute: slope(line.slice(Math.floor(line.length / 2))),
      }
    })
  }
}

/** Which processes grew from the middle to the end by more than collectors do. */
export function growing(memory: readonly Memory[]): string[] {
  return memory
    .filter(({ middle, end }) => end > middle * (1 + SLACK_SHARE) + SLACK_BYTES)
    .map(({ name, middle, end }) => `${name} grew from ${megabytes(middle)} to ${megabytes(end)}`)
}

export function megabytes(bytes: number): string {
  return `${(bytes / MEBIBYTE).toFixed(1)} MB`
}

/** Bytes a minute, by least squares. */
function slope(line: readonly { at: number; bytes: number }[]): number {
  const meanAt = line.reduce((sum, { at }) => sum + at, 0) / line.length
  const mean = line.reduce((sum, { bytes }) => sum + bytes, 0) / line.length
  let top = 0
  let bottom = 0
  for (const { at, bytes } of line) {
    top += (at - meanAt) * (bytes - mean)
    bottom += (at - meanAt) ** 2
  }
  return bottom === 0 ? 0 : (top / bottom) * 60_000
}
