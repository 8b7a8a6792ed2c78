/** Control characters in texts that clients show: terminals act on them, and a name with a line break reads as two. */

/** C0 without tab and line feed, DEL, and C1 (ECMA-48). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/
const breaks = /[\t\n\u2028\u2029]/
/** Whole sequences, so that nothing of `ESC [ 31 m` or `ESC ] 0 ; title BEL` stays behind as text. */
const sequences =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\u001b[\]P^_X]|[\u009d\u0090\u009e\u009f\u0098])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]/g

/** `line` is for names and titles, which are one line; `text` may have several. */
export type TextShape = 'line' | 'text'

export function hasControlCharacters(text: string, shape: TextShape): boolean {
  return controls.test(withoutReturns(text)) || (shape === 'line' && breaks.test(text))
}

/** The text without escape sequences and control characters; line breaks are `\n`, and in a `line` a space. */
export function withoutControlCharacters(text: string, shape: TextShape): string {
  if (!hasControlCharacters(text, shape)) return text
  const plain = withoutReturns(text)
    .replace(sequences, '')
    .replaceAll('\r', '\n')
    .replace(new RegExp(controls, 'g'), '')
  return shape === 'line' ? plain.replace(/[\s\u2028\u2029]+/g, ' ').trim() : plain
}

/** CRLF is how some editors end a line. */
function withoutReturns(text: string): string {
  return text.replaceAll('\r\n', '\n')
}
