/** Commands to type next, written such that they can be pasted: on the same data directory as the one before. */
import { defaultData } from './config.ts'

/** `words` are what follows `./bmm`. */
export function bmm(words: string, data: string | undefined): string {
  return data === undefined || data === defaultData
    ? `./bmm ${words}`
    : `./bmm ${words} --data ${quoted(data)}`
}

/** As one word of a POSIX shell. */
function quoted(text: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
