/** Why a tool's input cannot become a request. */

/** The message is for the model: it names the input's keys, never its values. */
export class RequestError extends Error {
  override readonly name = 'RequestError'
}
