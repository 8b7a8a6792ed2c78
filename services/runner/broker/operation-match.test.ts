import { describe, expect, test } from 'bun:test'
import { operationRules } from './operation-match.ts'

const rules = operationRules({
  origin: 'https://api.example.com',
  operations: [
    { method: 'GET', path: '/v1/pets' },
    { method: 'GET', path: '/v1/pets/{petId}' },
    { method: 'GET', path: '/v1/pets/{petId}/photos/{name}.png' },
    { method: 'POST', path: '/v1/pets/{petId}:adopt' },
    { method: 'GET', path: '/v1/range/{from}-{to}' },
    { method: 'GET', path: '/files/{+path}' },
    { method: 'GET', path: '/repos/{+path}/raw' },
    { method: 'GET', path: '/a b/ü' },
    { method: 'GET', path: '/projects/{+id}/issues' },
    { method: 'GET', path: '/projects/{+id}/files/{+path}/raw' },
  ],
})

/** The path as the broker sees it: after WHATWG URL parsing. */
function allows(method: string, path: string): boolean {
  return rules.allows(method, new URL(path, 'https://api.example.com').pathname)
}

test.each([
  ['GET', '/v1/pets'],
  ['GET', '/v1/pets/7'],
  ['GET', '/v1/pets/a%20b'],
  ['GET', '/v1/pets/50%25'],
  ['GET', '/v1/pets/;id=7'],
  ['GET', '/v1/pets/7/photos/front.png'],
  ['GET', '/v1/pets/7/photos/a.png.png'],
  ['POST', '/v1/pets/7:adopt'],
  ['GET', '/v1/range/1-2'],
  ['GET', '/v1/range/1-2-3'],
  ['GET', '/files/a'],
  ['GET', '/files/a/b/c.txt'],
  ['GET', '/files/a%2Fb'],
  ['GET', '/repos/a/b/raw'],
  ['GET', '/a%20b/%C3%BC'],
  ['GET', '/v1/x/../pets/7'],
  ['GET', '/projects/7/issues'],
  ['GET', '/projects/group%2Fproject/issues'],
  ['GET', '/projects/group%2fproject/files/lib%2Fa.rb/raw'],
])('%s %s is allowed', (method, path) => {
  expect(allows(method, path)).toBe(true)
})

test.each([
  ['DELETE', '/v1/pets/7'],
  ['HEAD', '/v1/pets'],
  ['GET', '/'],
  ['GET', '/v1'],
  ['GET', '/v1/pets/'],
  ['GET', '/v1//pets'],
  ['GET', '/v1/Pets'],
  ['GET', '/v1/pets/7/owner'],
  ['GET', '/v1/pets/../admin'],
  ['GET', '/v1/pets/%2e%2e/admin'],
  ['GET', '/v1/pets/..%2fadmin'],
  ['GET', '/v1/pets/..%5cadmin'],
  ['GET', '/v1/pets/..%252fadmin'],
  ['GET', '/v1/pets/7%2Fowner'],
  ['GET', '/v1/pets/7%5Cowner'],
  ['GET', '/v1/pets/7%252Fowner'],
  ['GET', '/v1/pets/7%252Fowner%25'],
  ['GET', '/v1/pets/7%2500'],
  ['GET', '/v1/pets%2F7'],
  ['GET', '/v1/pets/..;/admin'],
  ['GET', '/v1/pets/..;x'],
  ['GET', '/v1/pets/%2e%2e;x'],
  ['GET', '/v1/pets/.;x'],
  ['GET', '/v1/pets/7%00'],
  ['GET', '/v1/pets/7%0d%0aX'],
  ['GET', '/v1/pets/%ff'],
  ['GET', '/v1/pets/%zz'],
  ['GET', '/v1/pets/7/photos/.png'],
  ['POST', '/v1/pets/:adopt'],
  ['GET', '/v1/range/1'],
  ['GET', '/files/'],
  ['GET', '/files/../v1/secret'],
  ['GET', '/files/a%2F..%2F..%2Fsecret'],
  ['GET', '/files/a/..%2F..%2Fsecret'],
  ['GET', '/repos/raw'],
  ['GET', '/projects/group%2Fproject'],
  ['GET', '/projects/group%2F..%2F..%2Fadmin/issues'],
  ['GET', '/projects/%2e%2e%2Fadmin/issues'],
  ['GET', '/projects/..%2Fissues'],
  ['GET', '/projects/group%2Fproject/members'],
  ['DELETE', '/projects/group%2Fproject/issues'],
])('%s %s is refused', (method, path) => {
  expect(allows(method, path)).toBe(false)
})

test('without listed operations every method and path is allowed', () => {
  const open = operationRules({ origin: 'https://api.example.com' })
  expect(open.allows('DELETE', '/anything%2F..')).toBe(true)
})

test('with an empty list nothing is allowed', () => {
  const none = operationRules({ origin: 'https://api.example.com', operations: [] })
  expect(none.allows('GET', '/')).toBe(false)
})

test('a template made to be slow is matched in linear time', () => {
  const slow = operationRules({
    origin: 'https://api.example.com',
    operations: [{ method: 'GET', path: `/${'{a}'.repeat(200)}x{b}-y` }],
  })
  const startedAt = performance.now()
  expect(slow.allows('GET', `/${'a'.repeat(15_000)}`)).toBe(false)
  expect(performance.now() - startedAt).toBeLessThan(2_000)
})

describe('credentials of a request', () => {
  const { credentialsOf } = operationRules({
    origin: 'https://api.example.com',
    operations: [
      { method: 'GET', path: '/users/{id}', credentials: ['TOKEN', 'KEY'] },
      { method: 'GET', path: '/users/login', credentials: [] },
      { method: 'GET', path: '/users/{id}/key', credentials: ['KEY'] },
      { method: 'GET', path: '/files/{+path}', credentials: ['TOKEN'] },
      { method: 'GET', path: '/files/{a}/public', credentials: [] },
      { method: 'GET', path: '/same/{a}', credentials: ['TOKEN', 'KEY'] },
      { method: 'GET', path: '/same/{b}', credentials: ['KEY'] },
      { method: 'GET', path: '/plain' },
    ],
  })
  test.each([
    ['/plain', undefined],
    ['/users/7', ['TOKEN', 'KEY']],
    ['/users/login', []],
    ['/users/7/key', ['KEY']],
    ['/files/a/b/c', ['TOKEN']],
    ['/files/a/public', []],
    ['/same/x', ['KEY']],
    // One reading is /files/{+path}, the other /files/{a}/public: only what both send.
    ['/files/a%2Fpublic', []],
  ] as const)('of %s are %j', (path, names) => {
    expect(credentialsOf('GET', path)).toEqual(names === undefined ? undefined : [...names])
  })
})
