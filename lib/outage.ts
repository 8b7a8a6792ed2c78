/** Telling a store that cannot be reached from a query that is wrong. */

/** What the Postgres client says when a connection broke, never came or was given up. */
const connectionCodes = new Set([
  ...['CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED', 'CONNECT_TIMEOUT'],
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT'],
  ...['EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH', 'ENETDOWN', 'ENOTFOUND', 'EAI_AGAIN'],
])
/**
 * SQLSTATE: the server is stopping, was killed or still starts; connections are broken (class 08) or used up; disk or
 * memory is full (53…); a file cannot be written (58030); the statement got no further in its time (57014), the
 * transaction neither (25P03); the server has become the standby of another (25006).
 */
const serverStates = /^(57P0[123]|08[0-9A-Z]{3}|53[123]00|58030|57014|25P03|25006)$/

/** Whether a repetition may succeed once the store is back. */
export function isOutage(thrown: unknown): boolean {
  if (!(thrown instanceof Error) || !('code' in thrown)) return false
  const code = String(thrown.code)
  // The socket of a store that is not there; of a file it would be a bug.
  const noSocket = code === 'ENOENT' && 'syscall' in thrown && thrown.syscall === 'connect'
  return noSocket || connectionCodes.has(code) || serverStates.test(code)
}
