/** What a promise came to, for `expect`: bun's own `.rejects` loses events of sockets and pipes (STYLE). */

/** A function that throws what the promise rejected with, or returns what it resolved to. */
export async function outcomeOf<T>(promise: Promise<T> | undefined): Promise<() => T | undefined> {
  try {
    const value = await promise
    return () => value
  } catch (error) {
    return () => {
      throw error
    }
  }
}
