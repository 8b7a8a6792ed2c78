/** A call's arguments: read with every digit, held against the tool's schema, and handed to what runs. */
import {
  isRawNumber,
  mayLoseDigits,
  parseExactly,
  rawNumber,
  withDoubles,
} from '@bmm/lib/exact-json'
import type { SchemaCheck } from './input.ts'
import { messageOf } from './result.ts'

type Input = Record<string, unknown>

/** Both may hold raw numbers where `isPlain` is false; in `exact`, digits given as text are numbers where the schema asks for one. */
export type Arguments = { given: Input; exact: Input; isPlain: boolean }

/** An integer that no double holds, given as text. Longer ones are no numbers that an API would know. */
const digitsPattern = /^-?[1-9]\d{15,99}$/
const integerPattern = /^-?\d+$/
const digitTextInJson = /"-?[1-9]\d{15,99}"/

/** `problems` is a sentence for the model. */
export function readArguments(text: string, check: SchemaCheck): Arguments | { problems: string } {
  let input: Input
  const isSuspicious = mayLoseDigits(text)
  try {
    input = (isSuspicious ? parseExactly(text).value : JSON.parse(text)) as Input
  } catch {
    return { problems: 'The arguments are not JSON.' }
  }
  try {
    return isSuspicious
      ? checkedExactly(text, input, check)
      : outcome(input, input, check(input), true)
  } catch (error) {
    // A `$ref` to nowhere is the author's fault, and said as such.
    const reason = messageOf(error).split('\n')[0]
    return { problems: `The input schema of this tool cannot be used: ${reason}` }
  }
}

/**
 * What code gets: ordinary numbers, since arithmetic on anything else is wrong. Throws for an integer that would become
 * another one; given as text it arrives as text.
 */
export function inputForCode({ given, isPlain }: Arguments): Input {
  if (isPlain) return given
  const place = placeOfLostNumber(given)
  if (place === undefined) return withDoubles(given) as Input
  throw new Error(
    `"${place.join('.')}" has more digits than this tool can keep. Write the number as text, in quotes.`,
  )
}

/** Schemas compare doubles; what is sent keeps its digits. */
function checkedExactly(text: string, given: Input, check: SchemaCheck) {
  const doubles = withDoubles(given)
  const problems = check(doubles)
  if (problems.length === 0 || !digitTextInJson.test(text)) return outcome(given, given, problems)
  const places = check.mistyped(doubles).filter((steps) => {
    const value = steps.reduce<unknown>(stepInto, doubles)
    return typeof value === 'string' && digitsPattern.test(value)
  })
  if (places.length === 0) return outcome(given, given, problems)
  const exact = places.reduce<unknown>(withNumberAt, given) as Input
  return outcome(given, exact, check(withDoubles(exact)))
}

function outcome(
  given: Input,
  exact: Input,
  problems: string[],
  isPlain = false,
): Arguments | { problems: string } {
  if (problems.length === 0) return { given, exact, isPlain }
  return { problems: `The arguments do not fit this tool:\n- ${problems.join('\n- ')}` }
}

/** Where an integer stands, or a number of any kind, that a double cannot come near. */
function placeOfLostNumber(value: unknown): string[] | undefined {
  if (isRawNumber(value)) {
    const { rawJSON } = value
    return integerPattern.test(rawJSON) || !Number.isFinite(Number(rawJSON)) ? [] : undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, part] of Object.entries(value)) {
    const below = placeOfLostNumber(part)
    if (below !== undefined) return [key, ...below]
  }
  return undefined
}

function stepInto(value: unknown, step: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, step)
    ? (value as Record<string, unknown>)[step]
    : undefined
}

/** A copy in which the text at this place is a number of the same digits. */
function withNumberAt(value: unknown, [step, ...rest]: string[]): unknown {
  if (step === undefined) return rawNumber(String(value))
  const next = withNumberAt(stepInto(value, step), rest)
  if (Array.isArray(value)) return value.with(Number(step), next)
  return Object.fromEntries(
    Object.entries(value as object).map(([key, part]) => [key, key === step ? next : part]),
  )
}
