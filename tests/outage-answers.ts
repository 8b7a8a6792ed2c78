/** What clients may see while a part is down: read from the table of ARCHITECTURE.md, so that it is what the docs say. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { type Outcome, unclear } from './patient-clients.ts'

/** `503 store_unavailable`. */
const documented = new Set(
  section('## When something is down')
    .split('\n')
    .flatMap((row) => {
      const [, , status = '', codes = ''] = row.split('|').map((cell) => cell.trim())
      if (!/^\d{3}$/.test(status)) return []
      return [...codes.matchAll(/`([^`]+)`/g)].map(([, code]) => `${status} ${code}`)
    }),
)

const codes = z.union([
  z.object({ code: z.string() }).transform(({ code }) => code),
  z.object({ error: z.string() }).transform(({ error }) => error),
  z
    .object({
      error: z.object({ code: z.number(), data: z.object({ reason: z.string() }).optional() }),
    })
    .transform(({ error }) => error.data?.reason ?? String(error.code)),
  z.object({ result: z.object({ isError: z.literal(true) }) }).transform(() => 'isError'),
])

/** What was seen how often, such as `a call: 503 -32000`. */
export function seen(outcomes: readonly Outcome[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const outcome of outcomes) {
    const what =
      outcome.kind === 'no answer'
        ? 'no answer'
        : `${outcome.answer.status} ${codes.safeParse(outcome.answer.json).data ?? ''}`
    const key = `${outcome.who}: ${what.trim()}`
    counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}

/** Why an outcome is neither a success nor a clear, documented error; undefined when it is. */
export function undocumented(outcome: Outcome, mayBreakOff: boolean): string | undefined {
  if (outcome.kind === 'answer') {
    const { status, json } = outcome.answer
    const code = codes.safeParse(json).data
    if (code === undefined && status < 300) return undefined
    if (!documented.has(`${status} ${code}`)) {
      return `${outcome.who}: ${status} ${code} is not in ARCHITECTURE.md: ${outcome.answer.text.slice(0, 300)}`
    }
    if (status !== 503 && status !== 504 && status !== 200) return undefined
  }
  return unclear(outcome, mayBreakOff)
}

function section(title: string): string {
  const text = readFileSync(join(import.meta.dir, '..', 'ARCHITECTURE.md'), 'utf8')
  const [, rest = ''] = text.split(`${title}\n`)
  const [own = ''] = rest.split('\n## ')
  if (own === '') throw new Error(`ARCHITECTURE.md has no section ${title}`)
  return own
}
