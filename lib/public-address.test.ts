import { expect, test } from 'bun:test'
import { addressReach, nameReach } from './public-address.ts'

test.each(['8.8.8.8', '1.1.1.1', '2606:4700:4700::1111', '2001:4860:4860::8888'])(
  '%s is public',
  (address) => {
    expect(addressReach(address)).toBe('public')
  },
)

test.each([
  ['loopback', '127.0.0.1'],
  ['loopback', '127.255.255.254'],
  ['loopback', '::1'],
  ['RFC 1918', '10.1.2.3'],
  ['RFC 1918', '172.31.255.255'],
  ['RFC 1918', '192.168.0.1'],
  ['carrier-grade NAT', '100.64.0.1'],
  ['protocol assignments', '192.0.0.8'],
  ['documentation', '192.0.2.1'],
  ['documentation', '198.51.100.7'],
  ['documentation', '203.0.113.9'],
  ['documentation', '2001:db8::1'],
  ['documentation', '3fff::1'],
  ['benchmarking', '198.18.0.1'],
  ['benchmarking', '2001:2::1'],
  ['6to4 relay', '192.88.99.1'],
  ['AS112', '192.175.48.1'],
  ['6to4', '2002:0808:0808::1'],
  ['Teredo', '2001::1'],
  ['ORCHID', '2001:20::1'],
  ['NAT64', '64:ff9b::808:808'],
  ['local NAT64', '64:ff9b:1::808:808'],
  ['IPv4-mapped', '::ffff:8.8.8.8'],
  ['IPv4-translated', '::ffff:0:8.8.8.8'],
  ['IPv4-compatible', '::8.8.8.8'],
  ['unique local', 'fc00::1'],
  ['unique local', 'fdff::1'],
  ['site local', 'fec0::1'],
  ['segment routing', '5f00::1'],
  ['unassigned', '4000::1'],
])('%s address %s is private', (_kind, address) => {
  expect(addressReach(address)).toBe('private')
})

test.each([
  ['this network', '0.0.0.0'],
  ['this network', '0.1.2.3'],
  ['unspecified', '::'],
  ['link-local', '169.254.0.1'],
  ['metadata', '169.254.169.254'],
  ['metadata of Azure', '168.63.129.16'],
  ['metadata of Alibaba', '100.100.100.200'],
  ['metadata of Oracle', '192.0.0.192'],
  ['metadata of AWS', 'fd00:ec2::254'],
  ['metadata of Google', 'fd20:ce::254'],
  ['multicast', '224.0.0.1'],
  ['multicast', 'ff02::1'],
  ['reserved', '240.0.0.1'],
  ['broadcast', '255.255.255.255'],
  ['link-local', 'fe80::1'],
  ['link-local with a zone', 'fe80::1%eth0'],
  ['mapped metadata', '::ffff:169.254.169.254'],
  ['NAT64 metadata', '64:ff9b::a9fe:a9fe'],
  ['6to4 metadata', '2002:a9fe:a9fe::1'],
  ['compatible metadata', '::169.254.169.254'],
  ['no address', 'example.com'],
  ['an odd spelling', '0177.0.0.1'],
  ['an odd spelling', '2130706433'],
  ['empty text', ''],
])('%s %s is forbidden', (_kind, address) => {
  expect(addressReach(address)).toBe('forbidden')
})

test.each(['api.example.com', 'xn--bcher-kva.de', 'a_b.example.org'])('%s is public', (name) => {
  expect(nameReach(name)).toBe('public')
})

test.each([
  'localhost',
  'api.localhost',
  'printer',
  'router.lan',
  'nas.local',
  'api.internal',
  'api.default.svc',
  'api.default.svc.cluster.local',
  '1.0.0.127.in-addr.arpa',
  'host.docker.internal',
  'x.home.arpa',
])('%s is private', (name) => {
  expect(nameReach(name)).toBe('private')
})

test.each([
  'metadata.google.internal',
  'metadata',
  'example.com.',
  'a..example.com',
  '.example.com',
  'UPPER.example.com',
  '-x.example.com',
  `${'a'.repeat(64)}.example.com`,
  `${'a.'.repeat(130)}com`,
  'a b.example.com',
  '',
])('"%s" is forbidden', (name) => {
  expect(nameReach(name)).toBe('forbidden')
})
