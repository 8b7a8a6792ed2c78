/** JSON whose numbers keep their digits: what a double would change stays as it was written, until it is written again. */

/** A number of JSON as its text; `JSON.stringify` writes it out as it is. */
type RawNumber = { readonly rawJSON: string }

/** ECMAScript's JSON.parse source text access, which the compiler's library does not describe yet. */
const exact = JSON as unknown as {
  parse(
    text: string,
    revive: (key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown
  rawJSON(text: string): RawNumber
  isRawJSON(value: unknown): value is RawNumber
}
/** Taken before any tenant's code can replace them. */
const { parse, stringify } = JSON
const { rawJSON, isRawJSON } = exact
const reviving = exact.parse

/** Doubles keep 15 digits of any number and exponents of two digits; everything longer is looked at. */
const suspicious = /\d[\d.]{15}|\d[eE][+-]?\d{3}/
const numberPattern = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/
/** Written out in full up to here; beyond, the exponent stays. */
const MAX_PLAIN_DIGITS = 64

/** False: every number of this JSON text survives JSON.parse. True says only that it is worth a look. */
export function mayLoseDigits(text: string): boolean {
  return suspicious.test(text)
}

/** The value, where numbers that a double cannot hold are raw. `raws` counts those. Throws SyntaxError. */
export function parseExactly(text: string): { value: unknown; raws: number } {
  if (!suspicious.test(text)) return { value: parse(text), raws: 0 }
  let raws = 0
  const value = reviving(text, (_key, part, { source }) => {
    if (typeof part !== 'number' || source === undefined || isFaithful(source, part)) return part
    raws++
    return rawJSON(source)
  })
  return { value, raws }
}

/** Whether the value is a number that kept its text. */
export function isRawNumber(value: unknown): value is RawNumber {
  return typeof value === 'object' && value !== null && isRawJSON(value)
}

/** The raw number with this text, which must be a number of JSON. */
export function rawNumber(text: string): RawNumber {
  return rawJSON(text)
}

/** The value with doubles in place of raw numbers, for those who compare and compute; never changes its argument. */
export function withDoubles(value: unknown): unknown {
  return parse(stringify(value))
}

/** A number's digits without an exponent, as APIs read them in an address or form: 1e21 becomes 1000000000000000000000. */
export function plainDigits(text: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = ''] = numberPattern.exec(text) ?? []
  if (exponent === '') return text
  const digits = whole + fraction
  const point = whole.length + Number(exponent)
  if (digits.length + Math.abs(point) > MAX_PLAIN_DIGITS) return text
  const padded = digits.padEnd(point, '0').padStart(digits.length + Math.max(0, 1 - point), '0')
  const at = Math.max(1, point)
  const rest = padded.slice(at).replace(/0+$/, '')
  const head = padded.slice(0, at).replace(/^0+(?=\d)/, '')
  return `${sign}${head}${rest === '' ? '' : `.${rest}`}`
}

/** Whether the shortest spelling of the double means the number that was written. */
function isFaithful(source: string, value: number): boolean {
  const shortest = String(value)
  if (shortest === source) return true
  // Integers stay written out: some readers take an exponent for a fraction.
  if (shortest.includes('e') && !/[eE]/.test(source)) return false
  return significant(shortest) === significant(source)
}

/** Sign, digits without outer zeros and the place of the point: equal for equal numbers. */
function significant(text: string): string {
  const match = numberPattern.exec(text)
  if (match === null) return text
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match
  const digits = (whole + fraction).replace(/^0+/, '')
  const trimmed = digits.replace(/0+$/, '')
  if (trimmed === '') return '0'
  return `${sign}${trimmed}e${Number(exponent) - fraction.length + digits.length - trimmed.length}`
}
