/** What a promise came to, for `expect`: bun's own `.rejects` loses events of sockets and pipes (STYLE). */
import { reasonOf } from './errors.ts'

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

/** The machine reason that a promise was refused with, `done` when it was not, and what is no refusal as text. */
export function reason(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error) => reasonOf(error) ?? String(error),
  )
}
