/** JSON bodies of REST routes: read, checked and parsed before a schema sees them. */
import { type BodyRules, readBody } from '../arrival/body.ts'
import { parseJson } from '../arrival/json-text.ts'

const MAX_BODY_BYTES = 256 * 1024

/** A parser for a route's `parse`. Throws BodyFault or JsonFault. */
export function jsonBody(
  rules: Pick<BodyRules, 'timeoutMs'> & { limitBytes?: number; maxValues?: number } = {},
) {
  const { maxValues, ...read } = rules
  return async ({ request }: { request: Request }): Promise<unknown> =>
    parseJson(
      await readBody(request, {
        mediaType: 'application/json',
        limitBytes: MAX_BODY_BYTES,
        ...read,
      }),
      maxValues === undefined ? {} : { maxValues },
    )
}
