/** What runner and keeper say to each other: the payloads of the keeper's frames. */
import { z } from 'zod'
import { isSandboxClass, type SandboxClass } from './sandbox/sandbox-limits.ts'

const slotSchema = z.int().min(0).max(65_535)

export const startSchema = z.strictObject({
  class: z.custom<SandboxClass>(isSandboxClass, 'is not a class of sandbox'),
  slot: slotSchema,
})
export const startedSchema = z.strictObject({ slot: slotSchema, pid: z.int() })
export const stopSchema = z.strictObject({ slot: slotSchema })
/** Whose budget of processor time the slot's sandbox counts for. */
export const chargeSchema = z.strictObject({
  slot: slotSchema,
  organisation: z.string().min(1).max(200),
})
export const slotsSchema = z.strictObject({
  slots: z.array(z.strictObject({ slot: slotSchema, pid: z.int(), class: z.string() })),
})
export const keeperFailedSchema = z.strictObject({ message: z.string() })

/** `oom`: the kernel killed it for memory; `killed`: the keeper did, or a signal; `exited`: by itself, even where it was to be killed. */
export const exitedSchema = z.strictObject({
  slot: slotSchema,
  pid: z.int(),
  reason: z.enum(['oom', 'killed', 'exited']),
  /** For the operator's log: exit code and the end of what the sandbox wrote to descriptor 2. Tenant's text. */
  detail: z.string(),
  /** Where the driver knows it. */
  memoryPeakBytes: z.number().optional(),
})
export type SandboxExit = z.infer<typeof exitedSchema>
