/** Where our serialiser writes other bytes than a kept one, which section says so, and how both texts still mean the same. */
import type { ParameterSet } from './kept-serialisers.ts'

export type Difference = {
  /** The serialisers that differ there. */
  of: readonly string[]
  section: string
  why: string
  applies(set: ParameterSet): boolean
  /** Whether the two texts differ in nothing but this. */
  isAll(theirs: string, ours: string, set: ParameterSet): boolean
}

const all = ['swagger-client', 'openapi-fetch', 'url-template']

export const differences: readonly Difference[] = [
  {
    of: ['openapi-fetch', 'swagger-client'],
    section: 'RFC 6570 3.2.1 and 1.5; RFC 3986 2.3',
    why: "Everything but unreserved characters is escaped, !'()*[] and names of members too.",
    applies: ({ place, style }) =>
      place !== 'header' && place !== 'cookie' && style !== 'pipeDelimited',
    isAll: (theirs, ours) => decoded(theirs) === decoded(ours),
  },
  {
    of: ['openapi-fetch', 'swagger-client'],
    section: 'OAS 3.1.1 4.8.12.3 (style examples)',
    why: 'The bar between values is no character of a URL: it is written %7C.',
    applies: ({ style }) => style === 'pipeDelimited',
    isAll: (theirs, ours) => decoded(theirs) === decoded(ours),
  },
  {
    of: ['swagger-client'],
    section: 'RFC 6570 3.2.5; OAS 3.1 4.8.12.4 (label, explode false)',
    why: 'A whole label has commas between its values. OAS 3.0.3 showed dots, 3.0.4 mended it.',
    applies: ({ style, explode, value }) =>
      style === 'label' && !explode && typeof value === 'object',
    isAll: (theirs, ours) => decoded(`.${theirs.slice(1).replaceAll('.', ',')}`) === decoded(ours),
  },
  {
    of: all,
    section: 'RFC 6570 3.2.1 and 3.2.7 (ifemp)',
    why: 'In a matrix an empty value stands without its equals sign, exploded lists and maps included.',
    applies: ({ style, explode, value }) =>
      style === 'matrix' &&
      explode &&
      typeof value === 'object' &&
      Object.values(value).includes(''),
    isAll: (theirs, ours) => decoded(theirs.replaceAll(/=(?=;|$)/g, '')) === decoded(ours),
  },
  {
    of: ['swagger-client'],
    section: 'RFC 6570 2.3',
    why: 'An empty text is a value, and not the same as none.',
    applies: ({ value }) => value === '',
    isAll: (theirs, ours, { name }) => theirs === '' && ours === `${name}=`,
  },
  {
    of: ['url-template'],
    section: 'OAS 3.1 appendix D',
    why: 'Values of headers are not percent-encoded.',
    applies: ({ place }) => place === 'header',
    isAll: (theirs, ours) => asHeader(decoded(theirs)) === ours,
  },
  {
    of: ['swagger-client'],
    section: 'RFC 9110 5.5',
    why: 'What is not ASCII cannot stand in a header, so those characters alone are percent-encoded.',
    applies: ({ place }) => place === 'header',
    isAll: (theirs, ours) => asHeader(theirs) === ours,
  },
  {
    of: ['swagger-client', 'openapi-fetch'],
    section: 'OAS 3.1 4.8.12.4 (n/a)',
    why: 'Nothing says how objects are exploded with these styles, or lists with deepObject; whole objects have the separator.',
    applies: ({ style, value }) =>
      (Array.isArray(value) && style === 'deepObject') ||
      (isMap(value) && (style === 'spaceDelimited' || style === 'pipeDelimited')),
    isAll: (theirs, ours, set) => sameWords(theirs, ours, set),
  },
  {
    of: ['swagger-client'],
    section: 'OAS 3.1 4.8.12.4 (form) and appendix D; RFC 6570 3.2.8',
    why: 'A cookie is escaped as a query is; a percent sign left alone would make another value of it.',
    applies: ({ place, value }) => place === 'cookie' && typeof value !== 'object',
    isAll: (theirs, ours) => decodedTwice(theirs) === decodedTwice(ours),
  },
  {
    of: ['swagger-client'],
    section: 'OAS 3.1 4.8.12.4 (form); RFC 6265 4.2.1',
    why: 'Commas part the values of a list in a cookie, and exploded ones are cookies of their own; escaped into one value, nobody could part them.',
    applies: ({ place, value }) => place === 'cookie' && typeof value === 'object',
    isAll: (theirs, ours, { name, explode }) => {
      const value = explode ? theirs.replace(`${name}=`, '') : theirs
      return decodedTwice(value) === decodedTwice(ours.replaceAll('; ', '&'))
    },
  },
]

/** A percent sign that starts no triple stands for itself. */
function decoded(text: string): string {
  return decodeURIComponent(text.replaceAll(/%(?![0-9A-Fa-f]{2})/g, '%25'))
}

/** For texts of which one left the percent signs of its values as they were. */
function decodedTwice(text: string): string {
  return decoded(decoded(text))
}

function asHeader(text: string): string {
  return text.trim().replaceAll(/[^\t\x20-\x7e]+/g, (part) => encodeURIComponent(part))
}

/** The same names and values in the same order, whatever stands between them. */
function sameWords(theirs: string, ours: string, { name }: ParameterSet): boolean {
  const words = (text: string) =>
    decoded(text.replaceAll(/%20|%7C|%5B\d+%5D|[,&=|]/g, ' '))
      .split(' ')
      .filter((word) => word !== '' && word !== name)
      .join(' ')
  return words(theirs) === words(ours)
}

function isMap(value: unknown): boolean {
  return typeof value === 'object' && !Array.isArray(value)
}
