/** What the processes that judge documents are asked and answer, and what all answers add up to. */
import { z } from 'zod'

export const taskSchema = z.object({
  name: z.string(),
  path: z.string(),
  /** Large documents are judged in parts: each `of`-th tool, from the `index`-th on. */
  part: z.object({ index: z.number(), of: z.number() }),
})
export type Task = z.infer<typeof taskSchema>

const faultSchema = z.object({
  /** What is wrong, by one word: `invalid`, `missing`, `stray`, `changed`, … */
  kind: z.string(),
  where: z.string(),
  why: z.string(),
  /** Where it is known who is at fault. */
  cause: z.string().optional(),
})
export type ToolFault = z.infer<typeof faultSchema>

const countsSchema = z.object({
  operations: z.number(),
  tools: z.number(),
  refused: z.number(),
  validTools: z.number(),
  inputs: z.number(),
  validInputs: z.number(),
  /** Of the valid ones, those that left out what the tool tells by its type only. */
  partialInputs: z.number(),
  examples: z.number(),
  equalExamples: z.number(),
  /** Of the others, those that their own schema does not allow. */
  contradictedExamples: z.number(),
})
export type Counts = z.infer<typeof countsSchema>

export const outcomeSchema = countsSchema.extend({
  document: z.string(),
  /** Why the document as a whole was refused. */
  refusal: z.string().optional(),
  exceptions: z.array(z.object({ operation: z.string(), fault: faultSchema })),
  tookMs: z.number(),
})
export type Outcome = z.infer<typeof outcomeSchema>

export const noCounts: Counts = {
  operations: 0,
  tools: 0,
  refused: 0,
  validTools: 0,
  inputs: 0,
  validInputs: 0,
  partialInputs: 0,
  examples: 0,
  equalExamples: 0,
  contradictedExamples: 0,
}

export function total(outcomes: readonly Counts[]): Counts {
  const sum = { ...noCounts }
  for (const outcome of outcomes) {
    for (const key of countsSchema.keyof().options) sum[key] += outcome[key]
  }
  return sum
}

/** How many exceptions there are of each kind and cause, the most frequent first. */
export function causes(
  outcomes: readonly Outcome[],
): { what: string; count: number; documents: number }[] {
  const found = outcomes.flatMap(({ document, exceptions }) =>
    exceptions.map(({ fault: { kind, cause } }) => ({
      document,
      what: cause === undefined ? kind : `${kind}: ${cause}`,
    })),
  )
  return [...Map.groupBy(found, ({ what }) => what)]
    .map(([what, all]) => ({
      what,
      count: all.length,
      documents: new Set(all.map(({ document }) => document)).size,
    }))
    .sort((a, b) => b.count - a.count)
}
