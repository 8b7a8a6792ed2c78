import { expect, test } from 'bun:test'
import { resourceMetadataUrl, resourceUrl, slugFault, slugFromResource } from './resource-url.ts'

const origin = 'https://mcp.example.com'

test('a resource URL and its slug are each other’s inverse', () => {
  const url = resourceUrl(origin, 'weather')
  expect(url).toBe('https://mcp.example.com/s/weather/mcp')
  expect(slugFromResource(origin, url)).toBe('weather')
})

test('the metadata document lies at the path-specific address of RFC 9728', () => {
  expect(resourceMetadataUrl(origin, 'weather')).toBe(
    'https://mcp.example.com/.well-known/oauth-protected-resource/s/weather/mcp',
  )
})

test.each([
  'HTTPS://mcp.example.com/s/weather/mcp',
  'https://MCP.Example.com/s/weather/mcp',
  'https://mcp.example.com:443/s/weather/mcp',
  'https://mcp.example.com/s/weather/mcp/',
])('%s names the server in another spelling', (url) => {
  expect(slugFromResource(origin, url)).toBe('weather')
})

test.each([
  'https://mcp.example.com.evil.net/s/weather/mcp',
  'https://mcp.example.com/s/weather/mcp//',
  'https://user@mcp.example.com/s/weather/mcp',
  'https://mcp.example.com/s/weather/mcp?x=1',
  'https://mcp.example.com/s/weather/mcp#x',
  'https://mcp.example.com/s/weather',
  'https://mcp.example.com/s/../s/weather/mcp',
  'https://mcp.example.com/s/Weather/mcp',
  'http://mcp.example.com/s/weather/mcp',
  '',
])('%s is no resource of this origin', (url) => {
  expect(slugFromResource(origin, url)).toBeUndefined()
})

test.each(['weather', 'a2c', 'git-hub-3', 'a'.repeat(40)])('%s is a good slug', (slug) => {
  expect(slugFault(slug)).toBeUndefined()
})

test.each([
  '',
  'ab',
  'Weather',
  '1abc',
  'abc-',
  '-abc',
  'a_b',
  'a'.repeat(41),
  'a b c',
  'admin',
  'wéather',
])('the slug "%s" is refused with a sentence', (slug) => {
  expect(slugFault(slug)).toMatch(/[.]$/)
})
