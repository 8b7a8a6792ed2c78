/** Documents with random faults: each becomes a valid spec or an ImportError, nothing else. */
import { expect, test } from 'bun:test'
import { serverSpecSchema } from '@bmm/spec/server-spec'
import { draftFromOpenApi } from './draft.ts'
import { ImportError } from './import-error.ts'
import { isObject, type JsonObject } from './json.ts'
import { documentUrl, fixture } from './testing.ts'

const DOCUMENTS = 400
const DEADLINE_MS = 120_000
const fixtures = [
  'bookshop-swagger-2.0.yaml',
  'library-openapi-3.0.json',
  'notes-openapi-3.1.yaml',
  'weather-openapi-3.2.yaml',
]
const junk: readonly unknown[] = [
  null,
  true,
  false,
  -1,
  1e308,
  '',
  '\u0000\u202E',
  '__proto__',
  '{a}',
  '..',
  'x'.repeat(1_100),
  '#/components/schemas/Loan',
  'https://x.example/y',
  [],
  [null],
  [[]],
  {},
  { $ref: '#' },
  { $ref: 5 },
  { $ref: '#/paths' },
  { type: 'object', properties: { a: { $ref: '#' }, '': {} } },
  { oneOf: [{}] },
  { allOf: [{ type: 'string' }, { type: 'object' }] },
  { required: ['a', 'b', ''] },
  { enum: [{}, 1] },
  { name: 'x', in: 'query' },
  { in: 'body', name: 'b', schema: {} },
  { 'multipart/form-data': { schema: { type: 'object', properties: { f: { type: 'file' } } } } },
]

/** A linear congruential generator (Numerical Recipes): the same faults in every run. */
function randomFrom(start: number): (below: number) => number {
  let state = start
  return (below) => {
    state = (state * 1_664_525 + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** Every object or list of a document with one of its keys. */
function places(document: unknown): [holder: JsonObject, key: string][] {
  const found: [JsonObject, string][] = []
  const pending: unknown[] = [document]
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (typeof value !== 'object' || value === null) continue
    for (const [key, part] of Object.entries(value)) {
      found.push([value as JsonObject, key])
      pending.push(part)
    }
  }
  return found
}

test(
  'a document with random faults becomes a valid spec or an ImportError',
  () => {
    const random = randomFrom(20_261_122)
    const originals = fixtures.map((name) => Bun.YAML.parse(fixture(name)))
    let drafted = 0
    let refused = 0
    for (let count = 0; count < DOCUMENTS; count += 1) {
      const document = structuredClone(originals[random(originals.length)])
      for (let fault = random(4); fault >= 0; fault -= 1) breakOnePlace(document, random)
      const text = JSON.stringify(document)
      try {
        const { spec } = draftFromOpenApi(text, { documentUrl })
        const { error } = serverSpecSchema.safeParse(spec)
        expect([error?.issues[0], error && text]).toEqual([undefined, undefined])
        drafted += 1
      } catch (error) {
        if (!(error instanceof ImportError)) throw new Error(text, { cause: error })
        refused += 1
      }
    }
    expect(drafted).toBeGreaterThan(DOCUMENTS / 2)
    expect(refused).toBeGreaterThan(0)
  },
  DEADLINE_MS,
)

function breakOnePlace(document: unknown, random: (below: number) => number): void {
  const all = places(document)
  const [holder, key] = all[random(all.length)] ?? [{}, '']
  const kind = random(3)
  if (kind === 0) delete holder[key]
  else if (kind === 1 || !isObject(holder)) holder[key] = junk[random(junk.length)]
  else {
    const value = holder[key]
    delete holder[key]
    const name = ['__proto__', 'a b', '', 'ü', key.repeat(90)][random(5)] ?? ''
    Object.defineProperty(holder, name, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    })
  }
}
