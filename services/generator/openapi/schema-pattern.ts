/** Regular expressions of documents that validators can compile. */

const MAX_PATTERN = 500

/** Validators compile patterns with the `u` flag: one that does not compile so is left out. */
export function isPattern(pattern: string): boolean {
  if (pattern.length > MAX_PATTERN) return false
  try {
    new RegExp(pattern, 'u')
    return true
  } catch {
    return false
  }
}
