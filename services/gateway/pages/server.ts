/** What somebody sees who opens a server's MCP address in a browser: what it is, and how a client is pointed to it. */
import { type ClientSetup, clientSetups } from '@bmm/spec/client-setup'
import { displayed, html } from './html.ts'
import { pageResponse } from './layout.ts'

/** Says nothing that the discovery document does not say to everybody. */
export function serverPage(server: { name: string; slug: string; url: string }): Response {
  const { slug, url } = server
  const name = displayed(server.name)
  return pageResponse({
    title: name,
    body: html`<h1>${name}</h1>
<p>This is the address of an MCP server: AI clients talk to it, browsers do not. Point your client to it, and it opens a page here on which you sign in and allow it.</p>
<p><code>${url}</code></p>
<dl>${clientSetups(slug, url).map(setup)}</dl>`,
  })
}

function setup({ client, text, file }: ClientSetup) {
  const where = file === undefined ? undefined : html` in <code>${file}</code>`
  return html`<div><dt>${client}${where}</dt><dd><code>${text}</code></dd></div>`
}
