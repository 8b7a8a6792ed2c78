/** Why one operation cannot become a tool. */

/** The message is a sentence for the person. */
export class Refused extends Error {
  override readonly name = 'Refused'
}
