/** The pages of signing in: a form, a mail, and a button that a link scanner does not press. */
import { displayed, html } from './html.ts'
import { pageResponse } from './layout.ts'

export function loginPage(options: {
  returnTo: string
  /** What the client that waits calls itself; '' when nobody waits. */
  clientName?: string
  fault?: string
  /** What was typed before the fault. */
  email?: string
  status?: number
}): Response {
  const { returnTo, clientName = '', fault, email = '' } = options
  return pageResponse({
    title: 'Sign in',
    status: options.status ?? 200,
    body: html`<h1>Sign in</h1>
${clientName === '' ? undefined : html`<p>A program that calls itself “${displayed(clientName)}” wants to use a server. Sign in to decide.</p>`}
${fault === undefined ? undefined : html`<p class="note" role="alert">${fault}</p>`}
<form method="post" action="/login">
<input type="hidden" name="return_to" value="${returnTo}">
<label for="email">Your email address</label>
<input id="email" name="email" type="email" autocomplete="email" required maxlength="254" value="${email}" autofocus>
<div class="actions"><button type="submit">Mail me a link</button></div>
</form>
<p class="quiet">No password: we mail you a link that signs you in once, within 15 minutes.</p>`,
  })
}

/** The same page for known and unknown addresses. */
export function mailSentPage(returnTo: string, mailbox: string | undefined): Response {
  const again = returnTo === '' ? '/login' : `/login?return_to=${encodeURIComponent(returnTo)}`
  return pageResponse({
    title: 'Look into your mail',
    body: html`<h1>Look into your mail</h1>
<p>If the address can receive mail, a link is on its way. It works once and for 15 minutes.${returnTo === '' ? '' : ' Open it in this browser to go on where you were.'}</p>
${mailbox === undefined ? undefined : html`<p class="note">In development no mail is sent: the link is in the newest file of <code>${mailbox}</code> on the machine that runs the platform.</p>`}
<p class="quiet">Nothing there? Look among unwanted mail, or <a href="${again}">ask for another link</a>.</p>`,
  })
}

/** Mail scanners open every link: only the button redeems it. */
export function finishPage(token: string): Response {
  return pageResponse({
    title: 'Finish signing in',
    // The way back may be an authorization that ends at its client with an error.
    formsLeave: true,
    headers: { 'referrer-policy': 'same-origin' },
    body: html`<h1>Finish signing in</h1>
<p>Press the button to sign in with this browser.</p>
<form method="post" action="/login/finish">
<input type="hidden" name="token" value="${token}">
<div class="actions"><button type="submit" autofocus>Sign in</button></div>
</form>
<p class="quiet">You did not ask for this? Close the page, and nothing happens.</p>`,
  })
}

export function homePage(email: string | undefined): Response {
  return pageResponse({
    title: 'Home',
    body:
      email === undefined
        ? html`<h1>Build My MCP</h1>
<p>From a description to a live, locked-down MCP server.</p>
<p class="quiet">There is no console in the browser yet: everything is done with <code>./bmm</code>.</p>
<p><a class="button" href="/login">Sign in</a></p>`
        : html`<h1>You are signed in</h1>
<p>As ${email}. You can close this page.</p>
<p class="quiet">There is no console in the browser yet: everything is done with <code>./bmm</code>.</p>
<form method="post" action="/logout"><button class="second" type="submit">Sign out</button></form>`,
  })
}
