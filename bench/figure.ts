/** Figures: what was measured, in which unit, beside its target, and how a list of them is printed. */
import { cpus, loadavg } from 'node:os'

export type Figure = {
  what: string
  value: string
  /** Of the project's plan; absent where there is none. */
  target?: string
}

/** The middle value; NaN of nothing. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5)
}

/** The smallest value that at least this share of all values does not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

export function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`
}

/** Processes that wanted a core during the last minute: figures of a busy machine are worth less. */
export function machineLoad(): number {
  return loadavg()[0] ?? 0
}

/** A Markdown section that says when, where and by which command the figures came about. */
export function figureTable(
  figures: readonly Figure[],
  run: { at: Date; command: string; tookMs: number; loadBefore: number },
): string {
  const processors = cpus()
  const machine = `${processors.length} cores (${processors[0]?.model.trim() ?? 'unknown'})`
  const rows = figures.map(({ what, value, target = '' }) => `| ${what} | ${value} | ${target} |`)
  return [
    `${run.at.toISOString().slice(0, 10)}, ${machine}, Bun ${Bun.version}, \`${run.command}\` (${Math.round(run.tookMs / 1_000)} s); load average before: ${run.loadBefore.toFixed(1)}`,
    '',
    '| figure | measured | target |',
    '|---|---|---|',
    ...rows,
  ].join('\n')
}
