/** Ids: a prefix that names the noun, then a UUIDv7 (RFC 9562) in 26 characters of base32, sortable by time. */

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

/** Two characters at a time: every call has an id, and each piece of a text costs. */
const pairs = Array.from(alphabet, (first) => Array.from(alphabet, (next) => first + next)).flat()
const PAIR_BITS = 10

/** `srv_01k…`: prefix, underscore, 26 lower-case characters. */
export function newId(prefix: string): string {
  const bytes = Bun.randomUUIDv7('buffer')
  let text = `${prefix}_`
  // 26 characters are 130 bits: the first character starts with two that are 0.
  let held = 0
  let bits = 2
  for (let at = 0; at < bytes.length; at++) {
    held = ((held << 8) | (bytes[at] ?? 0)) & 0x3ffff
    bits += 8
    if (bits >= PAIR_BITS) {
      bits -= PAIR_BITS
      text += pairs[(held >> bits) & 1023]
    }
  }
  return text
}

/** Whether the text is an id with this prefix. */
export function isId(prefix: string, text: string): boolean {
  return text.startsWith(`${prefix}_`) && /^[0-9a-z]{26}$/.test(text.slice(prefix.length + 1))
}
