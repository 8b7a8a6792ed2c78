/** How people add a server to their AI client: the words for each client, made from the server's name and address. */

export type ClientSetup = {
  client: string
  /** A command for a shell, or what goes into a file of settings. */
  text: string
  /** The file; absent for a command. */
  file?: string
}

/** `slug` and `url` are a server's own, so nothing in them needs quoting. */
export function clientSetups(slug: string, url: string): ClientSetup[] {
  return [
    { client: 'Claude Code', text: `claude mcp add --transport http ${slug} ${url}` },
    {
      client: 'VS Code',
      text: `code --add-mcp '${JSON.stringify({ name: slug, type: 'http', url })}'`,
    },
    {
      client: 'Cursor',
      text: JSON.stringify({ mcpServers: { [slug]: { url } } }),
      file: '~/.cursor/mcp.json',
    },
  ]
}
