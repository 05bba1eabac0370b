// Behind a proxy with the PROXY protocol, an application gets the addresses of its clients.

import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import type { ListenOptions } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { call } from '../helpers/caller.js'
import { forkFixture, portOf, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

const LINE = Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.7 51234 443\r\n')
const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
const SEEN = {
  remoteAddress: '192.0.2.1',
  remotePort: 51234,
  remoteFamily: 'IPv4',
  localAddress: '198.51.100.7',
  localPort: 443,
}

/** Returns a header of version 2 for an IPv6 client. */
function binary(tlvs: [number, Buffer][]): Buffer {
  const ends = Buffer.alloc(36)
  ends.set([0x20, 0x01, 0x0d, 0xb8], 0)
  ends.set([1], 15)
  ends.set([1], 31)
  ends.writeUInt16BE(51234, 32)
  ends.writeUInt16BE(443, 34)
  const rest = Buffer.concat([ends, ...tlvs.map(([type, value]) => tlv(type, value))])
  const length = Buffer.alloc(2)
  length.writeUInt16BE(rest.length)
  return Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIT\n\x21\x21', 'latin1'), length, rest])
}

function tlv(type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 255]), value])
}

async function serveBehindProxy(t: ExecutionContext, kind: string, options: Partial<ListenOptions> = {}) {
  const server = startServer(t)
  const address = await server.listen({
    port: 0,
    host: '127.0.0.1',
    proxyProtocol: { from: '127.0.0.0/8' },
    ...options,
  })
  const { pool } = forkFixture(server, 'tell-client', { args: [kind] })
  await pool.ready
  return { server, address, port: 'port' in address ? portOf(address) : 0 }
}

/** Connects a client whose first bytes are a header. */
function proxied(t: ExecutionContext, port: number, header: Buffer): Socket {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {}).write(header)
  return socket
}

async function bodyOf(socket: Socket): Promise<unknown> {
  const answer = await within(text(socket), 'the answer')
  return JSON.parse(answer.slice(answer.indexOf('{')))
}

for (const kind of ['net', 'http', 'https'] as const) {
  test(`${kind}: a socket has the addresses of the client's connection to the proxy`, async (t) => {
    const { port, server } = await serveBehindProxy(t, kind)
    const raw = proxied(t, port, LINE)
    await within(once(raw, 'connect'), 'the connection')
    const { localPort } = raw
    const socket = kind === 'https' ? connectTls({ socket: raw, rejectUnauthorized: false }) : raw
    if (kind !== 'net') socket.write(REQUEST)
    const seen = await bodyOf(socket)
    t.like(seen, { ...SEEN, via: { remoteAddress: '127.0.0.1', remotePort: localPort }, proxy: { version: 1 } })
    t.deepEqual(server.stats().routed, { proxied: 1 })
  })
}

test("http2: a session has the addresses of the client's connection to the proxy", async (t) => {
  const { port } = await serveBehindProxy(t, 'http2')
  const socket = connectTls({ socket: proxied(t, port, LINE), ALPNProtocols: ['h2'], rejectUnauthorized: false })
  const session = connectHttp2('https://localhost', { createConnection: () => socket })
  t.teardown(() => session.destroy())
  t.like(JSON.parse(await within(text(session.request()), 'the answer')), SEEN)
})

test("express: the client's address is req.ip", async (t) => {
  const { port } = await serveBehindProxy(t, 'express')
  const socket = proxied(t, port, LINE)
  socket.write(REQUEST)
  t.deepEqual(await bodyOf(socket), { ip: '192.0.2.1' })
})

test('the TLVs of version 2 are properties of connection.proxy', async (t) => {
  const { port } = await serveBehindProxy(t, 'http')
  const ssl = Buffer.concat([
    Buffer.from([7, 0, 0, 0, 0]),
    ...[tlv(0x21, Buffer.from('TLSv1.3')), tlv(0x22, Buffer.from('client.example')), tlv(0x23, Buffer.from('AES'))],
  ])
  const socket = proxied(
    t,
    port,
    binary([
      [1, Buffer.from('h2')],
      [2, Buffer.from('a.example')],
      [5, Buffer.from('id')],
      [0x20, ssl],
      [0xea, Buffer.from('\x01vpce-1')],
      [0xee, Buffer.from([1, 42, 0, 0, 0])],
      [0xe0, Buffer.from([0, 0, 0, 0, 0, 0, 0, 7])],
    ]),
  )
  socket.write(REQUEST)
  const seen = await bodyOf(socket)
  t.like(seen, { remoteAddress: '2001:db8::1', remoteFamily: 'IPv6', localAddress: '::1' })
  t.like(seen, {
    proxy: {
      version: 2,
      alpn: 'h2',
      authority: 'a.example',
      awsVpcEndpointId: 'vpce-1',
      azureLinkId: 42,
      googleConnectionId: '7',
      uniqueId: { data: [...Buffer.from('id')] },
      ssl: {
        isTls: true,
        hasCertificate: true,
        isVerified: true,
        version: 'TLSv1.3',
        commonName: 'client.example',
        cipher: 'AES',
      },
      tlvs: [1, 2, 5, 0x20, 0xea, 0xee, 0xe0],
    },
  })
})

test('a client of a Unix socket has the address of the header', async (t) => {
  const path = join(temporaryDirectory(t), 'app.sock')
  const server = startServer(t)
  await server.listen({ path, proxyProtocol: { from: 'unix' } })
  const { pool } = forkFixture(server, 'tell-client', { args: ['https'] })
  await pool.ready
  const raw = connect(path)
  raw.write(LINE)
  const socket = connectTls({ socket: raw, rejectUnauthorized: false })
  socket.write(REQUEST)
  t.like(await bodyOf(socket), { ...SEEN, via: {} })
})

test('a connection from another source has its own address or is reset', async (t) => {
  const direct = await serveBehindProxy(t, 'http', { proxyProtocol: { from: ['192.0.2.0/24', '2001:db8::/32'] } })
  const socket = proxied(t, direct.port, Buffer.from(REQUEST))
  t.like(await bodyOf(socket), { remoteAddress: '127.0.0.1', localPort: direct.port })
  const refusing = await serveBehindProxy(t, 'http', { proxyProtocol: { from: '192.0.2.1', others: 'refuse' } })
  await t.throwsAsync(call(t, refusing.port).answer(), { code: 'ECONNRESET' })
  t.deepEqual(refusing.server.stats().routed, { refused: 1 })
})

test('connections with a wrong or missing header are reset and counted', async (t) => {
  const { server, port } = await serveBehindProxy(t, 'http', {
    proxyProtocol: { from: '127.0.0.1', timeout: 2000 },
  })
  await t.throwsAsync(call(t, port).answer(), { code: 'ECONNRESET' })
  const socket = proxied(t, port, Buffer.from(REQUEST))
  socket.resume()
  await until(() => server.stats().routed['no-header'] === 1)
  t.deepEqual(server.stats().routed, { silent: 1, 'no-header': 1 })
  t.is(server.stats().accepted, 0)
})

for (const [what, proxyProtocol, message] of [
  ['no sources', {}, /options\.proxyProtocol\.from.*undefined/],
  ['an empty list', { from: [] }, /options\.proxyProtocol\.from.*must name at least one address/],
  [
    'a host name',
    { from: ['10.0.0.1', 'proxy.local'] },
    /options\.proxyProtocol\.from.*must be an IP address.*'proxy\.local'/s,
  ],
  ['a long prefix', { from: '10.0.0.0/33' }, /options\.proxyProtocol\.from.*'10\.0\.0\.0\/33'/s],
  ['a timeout of 0', { from: 'unix', timeout: 0 }, /options\.proxyProtocol\.timeout.*at least 1/s],
  ['another word', { from: 'unix', others: 'drop' }, /options\.proxyProtocol\.others.*'direct', 'refuse'/s],
  ['an unknown option', { from: 'unix', trust: true }, /options\.proxyProtocol\.trust/],
] as const) {
  test(`${what} cannot be configured`, async (t) => {
    const server = startServer(t)
    const options: object = { port: 0, proxyProtocol }
    const error = await t.throwsAsync(() => server.listen(Object.assign({ port: 0 }, options)))
    t.regex(error?.message ?? '', message)
  })
}
