/** Values of credentials as they are given to commands: `NAME=@FILE`, `NAME=-` or `NAME=VALUE`. */
import { readFileSync } from 'node:fs'
import { credentialNamePattern } from '@bmm/spec/server-spec'
import { misused } from './fault.ts'

const MAX_CHARACTERS = 16_384

export type CredentialValue = { name: string; value: string }

/**
 * Reads what was given. One line end at the end of a file or of standard input is not part of the value.
 * Throws CommandFault that never shows a value.
 */
export function readCredentials(given: readonly string[]): CredentialValue[] {
  const sources = new Map<string, string>()
  for (const text of given) {
    const [name = '', ...rest] = text.split('=')
    if (!credentialNamePattern.test(name)) {
      throw misused(
        'A credential is given as NAME=@FILE, NAME=- or NAME=VALUE, its name in UPPER_SNAKE_CASE.',
      )
    }
    if (rest.length === 0) {
      throw misused(`${name} has no value: give ${name}=@FILE, ${name}=- or ${name}=VALUE.`)
    }
    if (sources.has(name)) throw misused(`${name} is given twice.`)
    sources.set(name, rest.join('='))
  }
  if ([...sources.values()].filter((source) => source === '-').length > 1) {
    throw misused('Only one credential can come from standard input.')
  }
  return [...sources].map(([name, source]) => ({ name, value: valueFrom(name, source) }))
}

function valueFrom(name: string, source: string): string {
  const value =
    source === '-'
      ? withoutLineEnd(readSource(name, 0))
      : source.startsWith('@')
        ? withoutLineEnd(readSource(name, source.slice(1)))
        : source
  if (value === '') throw misused(`The value of ${name} is empty.`)
  if (value.length > MAX_CHARACTERS) {
    throw misused(`The value of ${name} has more than ${MAX_CHARACTERS} characters.`)
  }
  return value
}

function readSource(name: string, source: string | number): string {
  try {
    return readFileSync(source, 'utf8')
  } catch {
    throw misused(
      `The value of ${name} cannot be read from ${source === 0 ? 'standard input' : source}.`,
    )
  }
}

function withoutLineEnd(text: string): string {
  return text.replace(/\r?\n$/, '')
}
