/** An imported operation and a tool's input become one HTTP request (OpenAPI 3.1 section 4.8.12, RFC 6570). */
import type { OperationSpec } from '@bmm/spec/server-spec'

export type OutgoingRequest = {
  method: string
  url: string
  headers: [name: string, value: string][]
  body?: Uint8Array | undefined
}

/** The input cannot become this request; the message is for the model. */
export class RequestError extends Error {
  override readonly name = 'RequestError'
}

/** `randomId` makes the multipart boundary: at least 16 characters of [A-Za-z0-9]. */
export function requestFrom(
  _operation: OperationSpec,
  _input: Readonly<Record<string, unknown>>,
  _randomId: () => string,
): OutgoingRequest {
  throw new RequestError('The serialiser is not ready yet.')
}
