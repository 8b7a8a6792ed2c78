/** Names beyond ASCII: as Latin letters, which model APIs take, and as the document writes them, for the model to read. */
import anyAscii from 'any-ascii'
import { isObject, type JsonObject, listAt, objectAt, own } from './json.ts'
import { line } from './prose.ts'

// biome-ignore lint/suspicious/noControlCharactersInRegex: the whole range of ASCII is meant
const ascii = /^[\u0000-\u007f]*$/
const MAX_OWN_NAME = 100

/** `größe` → `grosse`, `状態` → `ZhuangTai`; signs stay signs, unless there are no letters. */
export function latin(text: string): string {
  if (ascii.test(text)) return text
  const plain = text.normalize('NFC').replaceAll(/[\p{L}\p{N}\p{M}]+/gu, (run) => anyAscii(run))
  return /[A-Za-z0-9]/.test(plain) ? plain : anyAscii(text)
}

/** The name for a sentence, when it has letters that its key or tool name cannot have. */
export function ownName(wire: string): string | undefined {
  return ascii.test(wire) ? undefined : line(wire, MAX_OWN_NAME)
}

/** A key of the input (`at` is its path, `*` any item or entry) and what the API calls it. */
export type KeptName = { at: readonly string[]; wire: string }

/** Says in the descriptions of renamed keys what the API calls them. */
export function tellOwnNames(input: JsonObject, names: readonly KeptName[]): void {
  for (const { at, wire } of names) {
    const name = ownName(wire)
    if (name === undefined) continue
    for (const schema of schemasAt(input, at)) {
      const said = own(schema, 'description')
      schema.description = `Called "${name}" in the API.${typeof said === 'string' ? ` ${said}` : ''}`
    }
  }
}

function schemasAt(schema: JsonObject, at: readonly string[]): JsonObject[] {
  const [step, ...rest] = at
  if (step === undefined) return [schema]
  const members = ['anyOf', 'oneOf', 'allOf'].flatMap((keyword) => listAt(schema, keyword))
  const below =
    step === '*'
      ? [
          own(schema, 'items'),
          own(schema, 'additionalProperties'),
          ...listAt(schema, 'prefixItems'),
        ]
      : [own(objectAt(schema, 'properties'), step)]
  return [
    ...below.filter(isObject).flatMap((next) => schemasAt(next, rest)),
    ...members.filter(isObject).flatMap((member) => schemasAt(member, at)),
  ]
}
