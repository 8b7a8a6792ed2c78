/** The guest's parameters beside those of serialisers that others keep: the same bytes, or a section that says why not. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { requestFrom } from '@bmm/runner/guest/request.ts'
import { operationSchema } from '@bmm/spec/server-spec'
import {
  keptSerialisers,
  ORIGIN,
  type ParameterSet,
  type Place,
  partOf,
  type Serialiser,
  type Style,
  type Value,
} from './kept-serialisers.ts'
import { INSTALL_TIMEOUT_MS, installCorpus } from './packages.ts'
import { differences } from './serialiser-differences.ts'

const stylesIn: Readonly<Record<Place, readonly Style[]>> = {
  path: ['simple', 'label', 'matrix'],
  query: ['form', 'spaceDelimited', 'pipeDelimited', 'deepObject'],
  header: ['simple'],
  cookie: ['form'],
}
const SETS_OF_EACH = 45
const SEED = 20_261_201
/** Without full stops: a whole label of swagger-client could not be told apart from its values. */
const texts = [
  'blue',
  'a b',
  'a/b',
  'ä😀',
  'a,b',
  '100%',
  'x&y=z',
  "!'()*",
  '?#[]@',
  'a|b',
  'C%2B%2B',
  '-_~',
  'ß;:+$',
]
const scalars: readonly (string | number | boolean)[] = [...texts, 7, -15, 0, true, false, 'a.b-c']
const names = ['color', 'page_size', 'x1']
const keys = ['R', 'G', 'B', 'long name', 'größe', 'a-b']

let kept: Record<string, Serialiser>
const used = new Map<string, number>()

beforeAll(async () => {
  await installCorpus()
  kept = await keptSerialisers()
}, INSTALL_TIMEOUT_MS)
afterAll(() => {
  for (const [row, count] of used) process.stdout.write(`${String(count).padStart(5)}  ${row}\n`)
})

test('writes every generated set as two kept serialisers do, or a section says why not', () => {
  const sets = generatedSets()
  expect(sets.length).toBeGreaterThanOrEqual(2_000)
  const unexplained: string[] = []
  for (const set of sets) {
    const ours = written(set)
    const theirs = Object.entries(kept).flatMap(([by, serialise]) => {
      const text = serialise(set)
      return text === undefined ? [] : [{ by, text }]
    })
    expect(theirs.length).toBeGreaterThanOrEqual(2)
    for (const { by, text } of theirs) {
      const row = text === ours ? `same bytes as ${by}` : reasonFor(by, text, ours, set)
      if (row === undefined) unexplained.push(`${JSON.stringify(set)} ${by}: ${text} ours: ${ours}`)
      else used.set(row, (used.get(row) ?? 0) + 1)
    }
  }
  expect(unexplained).toEqual([])
  // A row that explains nothing any more is an unchecked claim.
  const idle = differences.filter(
    ({ section }) => ![...used.keys()].some((row) => row.includes(section)),
  )
  expect(idle.map(({ section }) => section)).toEqual([])
})

test('leaves members without a value out, as if they were not there (RFC 6570 2.3)', () => {
  for (const [place, styles] of Object.entries(stylesIn) as [Place, readonly Style[]][]) {
    for (const style of styles) {
      for (const explode of [true, false]) {
        const set = (value: Value) => written({ place, style, explode, name: 'color', value })
        expect(set({ a: null, b: 'c' })).toBe(set({ b: 'c' }))
        if (style !== 'deepObject') expect(set(['a', null, 'b'])).toBe(set(['a', 'b']))
      }
    }
  }
})

function reasonFor(by: string, theirs: string, ours: string, set: ParameterSet) {
  const reason = differences.find(
    ({ of, applies, isAll }) => of.includes(by) && applies(set) && isAll(theirs, ours, set),
  )
  return reason && `${by}: ${reason.section}: ${reason.why}`
}

/** What the guest sends. */
function written({ place, style, explode, name, value }: ParameterSet): string {
  const operation = operationSchema.parse({
    method: 'GET',
    url: `${ORIGIN}/${place === 'path' ? `{${name}}` : ''}`,
    parameters: [{ key: name, name, in: place, style, explode }],
  })
  const { url, headers } = requestFrom(operation, { [name]: value }, () => 'f'.repeat(16))
  return place === 'path' || place === 'query' ? partOf(url, place) : (headers[0]?.[1] ?? '')
}

function generatedSets(): ParameterSet[] {
  const random = randomNumbers(SEED)
  const one = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
  const some = <T>(list: readonly T[]): T[] =>
    Array.from({ length: 1 + Math.floor(random() * 4) }, () => one(list))
  // An empty segment would be another address: the guest refuses it.
  const scalar = (place: Place) => (place !== 'path' && random() < 0.1 ? '' : one(scalars))
  const item = () => (random() < 0.1 ? '' : one(scalars.filter((each) => each !== 'a.b-c')))
  const kinds: ((place: Place) => Value)[] = [
    scalar,
    () => some(scalars).map(item),
    () => Object.fromEntries(some(keys).map((key) => [key, item()])),
  ]
  return (Object.entries(stylesIn) as [Place, readonly Style[]][]).flatMap(([place, styles]) =>
    styles.flatMap((style) =>
      [true, false].flatMap((explode) =>
        kinds.flatMap((kind) =>
          Array.from({ length: SETS_OF_EACH }, () => {
            let value = kind(place)
            // One empty value alone makes an empty segment, too.
            if (place === 'path' && isEmptySegment(value)) value = ['x', '']
            return { place, style, explode, name: one(names), value }
          }),
        ),
      ),
    ),
  )
}

function isEmptySegment(value: Value): boolean {
  return Array.isArray(value) && value.length === 1 && value[0] === ''
}

/** Mulberry32: the same sets in each run. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
