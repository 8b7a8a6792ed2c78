/** Ids: a prefix that names the noun, then a UUIDv7 (RFC 9562) in 26 characters of base32, sortable by time. */

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

/** `srv_01k…`: prefix, underscore, 26 lower-case characters. */
export function newId(prefix: string): string {
  let text = ''
  // 26 characters are 130 bits: the first character starts with two that are 0.
  let held = 0
  let bits = 2
  for (const byte of Bun.randomUUIDv7('buffer')) {
    held = ((held << 8) | byte) & 0xffff
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += alphabet[(held >> bits) & 31]
    }
  }
  return `${prefix}_${text}`
}

/** Whether the text is an id with this prefix. */
export function isId(prefix: string, text: string): boolean {
  return text.startsWith(`${prefix}_`) && /^[0-9a-z]{26}$/.test(text.slice(prefix.length + 1))
}
