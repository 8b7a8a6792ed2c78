/** Ids: a prefix that names the noun, then a UUIDv7 (RFC 9562) in 26 characters of base32, sortable by time. */

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
const ID_CHARACTERS = 26

/** `srv_01k…`: prefix, underscore, 26 lower-case characters. */
export function newId(prefix: string): string {
  const hex = Bun.randomUUIDv7().replaceAll('-', '')
  let value = BigInt(`0x${hex}`)
  let text = ''
  for (let index = 0; index < ID_CHARACTERS; index++) {
    text = (alphabet[Number(value & 31n)] ?? '0') + text
    value >>= 5n
  }
  return `${prefix}_${text}`
}

/** Whether the text is an id with this prefix. */
export function isId(prefix: string, text: string): boolean {
  return text.startsWith(`${prefix}_`) && /^[0-9a-z]{26}$/.test(text.slice(prefix.length + 1))
}
