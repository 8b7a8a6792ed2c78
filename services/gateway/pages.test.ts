/** The pages: signing in, consent, and forms that no other page can send. */
import { describe, expect, test } from 'bun:test'
import type { TestGateway } from './testing.ts'
import { form, oauthWorld, oauthWorldOfFile, session } from './testing-oauth.ts'

const world = await oauthWorldOfFile()
const { gw, server } = world

const browserForm = (fields: Record<string, string>, headers = {}) =>
  form(fields, { origin: gw.origin, cookie: `__Host-bmm=${session}`, ...headers })

describe('signing in', () => {
  test('every page forbids scripts, frames and caching', async () => {
    for (const path of ['/', '/login', '/login/finish?token=x', '/oauth/authorize?x=1']) {
      const { headers } = await fetch(`${gw.origin}${path}`)
      const policy = headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("frame-ancestors 'none'")
      expect(policy).not.toContain('script-src')
      expect(policy).not.toContain('unsafe')
      expect(headers.get('x-frame-options')).toBe('DENY')
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('x-content-type-options')).toBe('nosniff')
    }
  })

  test('the form mails a link and keeps the way back', async () => {
    const page = await (await fetch(`${gw.origin}/login?return_to=/oauth/authorize%3Fa%3D1`)).text()
    expect(page).toContain('name="return_to" value="/oauth/authorize?a=1"')
    const response = await fetch(
      `${gw.origin}/login`,
      form(
        { email: ' ada@example.com ', return_to: '/oauth/authorize?a=1' },
        { origin: gw.origin },
      ),
    )
    expect(await response.text()).toContain('Look into your mail')
    expect(world.asked.links[0]).toMatchObject({
      email: 'ada@example.com',
      returnTo: '/oauth/authorize?a=1',
    })
  })

  test('the way back belongs to the browser that asked', async () => {
    const submit = (path: string, fields: Record<string, string>, cookie: string) =>
      fetch(`${gw.origin}${path}`, form(fields, { origin: gw.origin, cookie }))
    const sent = await submit('/login', { email: 'ada@example.com', return_to: '/a' }, '')
    const [cookie = '', ...attributes] = (sent.headers.get('set-cookie') ?? '').split('; ')
    expect(cookie).toMatch(/^__Host-bmm-browser=[A-Za-z0-9_-]{43}$/)
    expect(attributes).toEqual(['Path=/', 'Secure', 'HttpOnly', 'SameSite=Lax', 'Max-Age=900'])
    const secret = cookie.split('=')[1] ?? ''
    expect(world.asked.links.at(-1)?.browser).toBe(secret)
    await submit('/login', { email: 'ada@example.com', return_to: '/b' }, cookie)
    expect(world.asked.links.at(-1)?.browser).toBe(secret)
    await submit('/login', { email: 'ada@example.com' }, '__Host-bmm-browser=chosen')
    expect(world.asked.links.at(-1)?.browser).toMatch(/^[A-Za-z0-9_-]{43}$/)

    await submit('/login/finish', { token: 'link-1' }, cookie)
    await submit('/login/finish', { token: 'link-1' }, '')
    expect(world.asked.browsers).toEqual([secret, ''])
  })

  test('the way back never leads to another site', async () => {
    for (const evil of [
      'https://evil.example',
      '//evil.example',
      '/\\evil.example',
      '/\t/evil.example',
      'javascript:alert(1)',
      '/ok\r\nset-cookie: a=b',
    ]) {
      const page = await fetch(`${gw.origin}/login?return_to=${encodeURIComponent(evil)}`)
      expect(await page.text()).toContain('name="return_to" value=""')
    }
  })

  test('a malformed address and a limit are said on the form', async () => {
    const post = (email: string) =>
      fetch(`${gw.origin}/login`, form({ email }, { origin: gw.origin }))
    const malformed = await post('nonsense')
    expect(malformed.status).toBe(400)
    expect(await malformed.text()).toContain('That is not an email address.')
    const often = await post('often@example.com')
    expect(often.status).toBe(429)
    expect(await often.text()).toContain('Come back tomorrow.')
  })

  test('looking at a link does not use it, pressing the button does', async () => {
    for (const method of ['GET', 'HEAD']) {
      const response = await fetch(`${gw.origin}/login/finish?token=link-1`, { method })
      expect(response.status).toBe(200)
      expect(response.headers.get('set-cookie')).toBeNull()
    }
    expect(world.asked.finished).toEqual([])
    const response = await fetch(
      `${gw.origin}/login/finish`,
      form({ token: 'link-1' }, { origin: gw.origin }),
    )
    expect([response.status, response.headers.get('location')]).toEqual([
      303,
      '/oauth/authorize?x=1',
    ])
    expect(response.headers.get('set-cookie')).toBe(
      `__Host-bmm=${session}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=2592000`,
    )
  })

  test('a spent link says what to do', async () => {
    const response = await fetch(
      `${gw.origin}/login/finish`,
      form({ token: `bml_${'x'.repeat(43)}` }, { origin: gw.origin }),
    )
    expect(response.status).toBe(400)
    const page = await response.text()
    expect(page).toContain('Ask for another link')
    expect(page).toContain('It was used already')
    expect(response.headers.get('set-cookie')).toBeNull()
  })

  test('a link with more at its end is told apart from a spent one', async () => {
    const token = `bml_${'x'.repeat(43)}\\n\\nIt`
    const response = await fetch(
      `${gw.origin}/login/finish`,
      form({ token }, { origin: gw.origin }),
    )
    expect(response.status).toBe(400)
    expect(await response.text()).toContain('Copy it again, exactly.')
  })

  test('signing out ends the session and the cookie', async () => {
    const response = await fetch(`${gw.origin}/logout`, browserForm({}))
    expect(response.status).toBe(303)
    expect(response.headers.get('set-cookie')).toContain('Max-Age=0')
    expect(world.asked.ended).toEqual([session])
  })

  test('no form works from another page or without an Origin', async () => {
    for (const path of ['/login', '/login/finish', '/logout', '/oauth/consent']) {
      for (const headers of [{ origin: 'https://evil.example' }, { origin: 'null' }, {}]) {
        const fields = { email: 'a@example.com', token: 'link-1', csrf_token: 'csrf-1' }
        const response = await fetch(
          `${gw.origin}${path}`,
          form(fields, { cookie: `__Host-bmm=${session}`, ...headers }),
        )
        expect([path, response.status]).toEqual([path, 403])
      }
    }
    expect(
      [world.asked.links, world.asked.finished, world.asked.ended, world.asked.decide].flat(),
    ).toEqual([])
  })
})

describe('consent', () => {
  const query = (more = '') =>
    `${gw.origin}/oauth/authorize?client_id=c&redirect_uri=${encodeURIComponent('http://localhost:9/cb')}&resource=${encodeURIComponent(server.url)}${more}`
  const withCookie = { headers: { cookie: `__Host-bmm=${session}` }, redirect: 'manual' as const }

  test('shows who asks, marked as unverified, and where everything goes', async () => {
    const response = await fetch(query(), withCookie)
    const page = await response.text()
    expect(world.asked.authorize[0]?.sessionToken).toBe(session)
    expect(world.asked.authorize[0]?.resource?.serverId).toBe(server.serverId)
    expect(page).not.toContain('<script>')
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt; evil')
    expect(page).not.toContain('\u202e')
    expect(page).toContain('Nobody has verified that name')
    expect(page).toContain('Pets &amp; &lt;Friends&gt;')
    expect(page).toContain('Ada &amp; Sons')
    expect(page).toContain('https://api.example.com')
    expect(page).toContain('localhost:9')
    expect(page).toContain('(this computer)')
    expect(page).toContain('ada@example.com')
    expect(page).toContain('name="csrf_token" value="csrf-1"')
    expect(page).toContain('a name that its author chose; not verified')
    expect(response.headers.get('content-security-policy')).not.toContain('form-action')
  })

  test('a program that the operator registered is not called unverified', async () => {
    const page = await (await fetch(query().replace('=c&', '=cli_by_operator&'), withCookie)).text()
    expect(page).toContain('The operator of this platform has registered this program')
    expect(page).not.toContain('Nobody has verified')
  })

  test('only forms that end at a client may lead away from here', async () => {
    const policyOf = async (path: string) =>
      (await fetch(`${gw.origin}${path}`, withCookie)).headers.get('content-security-policy')
    expect(await policyOf('/oauth/authorize?redirect_uri=cursor://a/cb')).not.toContain(
      'form-action',
    )
    expect(await policyOf('/login/finish?token=x')).not.toContain('form-action')
    expect(await policyOf('/login')).toContain("form-action 'self'")
    expect(await policyOf('/')).toContain("form-action 'self'")
  })

  test('without a session the login page comes, with the way back', async () => {
    world.consent.outcome = 'login'
    const page = await (await fetch(query())).text()
    expect(world.asked.authorize[0]?.sessionToken).toBe('')
    expect(page).toContain('Some &lt;b&gt;Client&lt;/b&gt;')
    expect(page).toContain('value="/oauth/authorize?client_id=c&amp;redirect_uri=')
  })

  test('a trusted redirect goes to the client, an untrusted one stays here', async () => {
    world.consent.outcome = 'redirect'
    const redirected = await fetch(query(), withCookie)
    expect([redirected.status, redirected.headers.get('location')]).toEqual([
      303,
      'http://localhost:9/cb?error=invalid_scope',
    ])
    world.consent.outcome = 'fault'
    const refused = await fetch(query(), withCookie)
    expect([refused.status, refused.headers.get('location')]).toEqual([400, null])
  })

  test('a redirect that nobody vouches for is a link, with the code of the error beside it', async () => {
    world.consent.outcome = 'stranger'
    const response = await fetch(query(), withCookie)
    expect([response.status, response.headers.get('location')]).toEqual([400, null])
    const page = await response.text()
    expect(page).toContain('<code>invalid_scope</code>')
    expect(page).toContain('The program waits at <code>lure.example</code>')
    expect(page).toContain('<a href="https://lure.example/cb?error=a&amp;b" rel="noreferrer">')
  })

  const decision = (value: string, csrf = 'csrf-1') =>
    fetch(
      `${gw.origin}/oauth/consent`,
      browserForm({
        request_id: 'req-1',
        csrf_token: csrf,
        resource: server.url,
        decision: value,
      }),
    )

  test('Allow and Deny are carried with session, token and the server as it is now', async () => {
    expect((await decision('allow')).headers.get('location')).toBe('http://localhost:9/cb?code=abc')
    expect((await decision('deny')).headers.get('location')).toContain('error=access_denied')
    expect((await decision('anything')).headers.get('location')).toContain('error=access_denied')
    expect(world.asked.decide.map(({ approved }) => approved)).toEqual([true, false, false])
    expect(world.asked.decide[0]).toMatchObject({
      requestId: 'req-1',
      csrfToken: 'csrf-1',
      sessionToken: session,
    })
    expect(world.asked.decide[0]?.resource?.serverId).toBe(server.serverId)
  })

  test('a wrong CSRF token ends on an error page', async () => {
    const response = await decision('allow', 'guessed')
    expect([response.status, response.headers.get('location')]).toEqual([403, null])
  })
})

describe('addresses that are opened in a browser', () => {
  const browser = { headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' } }
  const open = async (path: string, init: RequestInit = browser) => {
    const response = await fetch(`${gw.origin}${path}`, init)
    const type = response.headers.get('content-type')?.split(';')[0]
    return { status: response.status, type, text: await response.text() }
  }
  const path = () => new URL(server.url).pathname

  test('an MCP address says what it is and how a client is pointed to it', async () => {
    const { status, type, text } = await open(path())
    expect([status, type]).toEqual([200, 'text/html'])
    for (const part of [server.url, `claude mcp add --transport http pets ${server.url}`]) {
      expect(text).toContain(part)
    }
    expect(text).toContain('Pets &amp; &lt;Friends&gt;')
  })

  test('a client that asks the same address for a stream meets the challenge', async () => {
    for (const accept of ['text/event-stream', 'application/json', '*/*']) {
      const { status, type } = await open(path(), { headers: { accept } })
      expect([status, type]).toEqual([401, 'application/json'])
    }
  })

  test('of an unknown server a page says so, and every such page leads on', async () => {
    for (const gone of ['/s/nobody-there/mcp', '/s/No_Slug/mcp', '/no/such/page']) {
      const { status, type, text } = await open(gone)
      expect([gone, status, type]).toEqual([gone, 404, 'text/html'])
      expect(text).toContain('<a class="button" href="/">')
    }
    const program = await open('/no/such/page', {})
    expect([program.status, program.type]).toEqual([404, 'application/problem+json'])
  })

  test('the page never says what was asked for', async () => {
    expect((await open('/%3Cscript%3Ecanary')).text).not.toContain('canary')
  })
})

describe('mail of development', () => {
  const sent = async (gateway: TestGateway) => {
    const fields = form({ email: 'ada@example.com' }, { origin: gateway.origin })
    return (await fetch(`${gateway.origin}/login`, fields)).text()
  }

  test('where no mail is really sent, the page names the folder; else it names none', async () => {
    expect(await sent(gw)).not.toContain('newest file')
    const other = await oauthWorld({ mailbox: '/run/bmm/<mail>' })
    try {
      expect(await sent(other.gw)).toContain('/run/bmm/&lt;mail&gt;')
    } finally {
      await other.gw[Symbol.asyncDispose]()
    }
  })
})
