import { once } from 'node:events'
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { createServer as createNetServer, type Server as NetServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { run } from '../helpers/program.js'
import { forkFixture, portOf, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { within } from '../helpers/within.js'

const hasIPv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ family }) => family === 'IPv6'))
const withIPv6 = hasIPv6 ? test : test.skip

test('listen() takes an object with a port, a host and a backlog', async (t) => {
  const server = startServer(t)
  for (const host of ['127.0.0.1', '0.0.0.0']) {
    const { port, ...rest } = await server.listen({ port: 0, host, backlog: 4096 })
    t.deepEqual(rest, { address: host, family: 'IPv4' })
    forkFixture(server, 'describe-connection', { args: [String(port)] })
    t.like(JSON.parse(await ask(port)), { remoteAddress: '127.0.0.1', localPort: port })
  }
})

test('listen() takes a host name', async (t) => {
  const { address } = await startServer(t).listen({ port: 0, host: 'localhost' })
  t.true(['127.0.0.1', '::1'].includes(address))
})

test('listen() takes a port and a host', async (t) => {
  const server = startServer(t)
  const { port, ...rest } = await server.listen(0, '127.0.0.1')
  t.deepEqual(rest, { address: '127.0.0.1', family: 'IPv4' })
  t.true(port > 0)
  forkFixture(server, 'describe-connection')
  t.like(JSON.parse(await ask(port)), { localPort: port })
})

withIPv6('listen() with only a port listens on all IPv6 and IPv4 addresses', async (t) => {
  const server = startServer(t)
  const { port, ...rest } = await server.listen(0)
  t.deepEqual(rest, { address: '::', family: 'IPv6' })
  forkFixture(server, 'describe-connection')
  t.like(JSON.parse(await ask({ port, host: '::1' })), { remoteAddress: '::1' })
  // net gives an IPv4 client the same address on such a listener.
  t.like(JSON.parse(await ask({ port, host: '127.0.0.1' })), { remoteAddress: '::ffff:127.0.0.1' })
})

withIPv6("listen() on '::' includes IPv4 unless ipv6Only is set", async (t) => {
  const server = startServer(t)
  const both = await server.listen({ port: 0, host: '::' })
  const only = await server.listen({ port: 0, host: '::', ipv6Only: true })
  forkFixture(server, 'describe-connection')
  t.like(JSON.parse(await ask({ port: both.port, host: '127.0.0.1' })), { localPort: both.port })
  t.like(JSON.parse(await ask({ port: only.port, host: '::1' })), { localPort: only.port, remoteAddress: '::1' })
  await t.throwsAsync(ask({ port: only.port, host: '127.0.0.1' }), { code: 'ECONNREFUSED' })
})

withIPv6('an IPv6 address has the same form as in net', async (t) => {
  const server = startServer(t)
  const { port, ...rest } = await server.listen(0, '::1')
  t.deepEqual(rest, { address: '::1', family: 'IPv6' })
  forkFixture(server, 'describe-connection')
  const answer = JSON.parse(await ask({ port, host: '::1' }))
  t.like(answer, { remoteAddress: '::1', socket: { remoteAddress: '::1' } })
})

for (const form of ['string', 'object'] as const) {
  test(`listen() takes a Unix path as ${form}, and close() removes the socket file`, async (t) => {
    const path = join(temporaryDirectory(t), 'app.sock')
    const server = startServer(t)
    t.deepEqual(await (form === 'string' ? server.listen(path) : server.listen({ path })), { path })
    t.true(statSync(path).isSocket())
    forkFixture(server, 'describe-connection')
    const answer = JSON.parse(await ask(path))
    t.true(answer.socket.isSocket)
    t.deepEqual([answer.remoteAddress, answer.remotePort, answer.localPort], [undefined, undefined, undefined])
    await server.close()
    t.false(existsSync(path))
  })
}

test('destroy() removes the socket file', async (t) => {
  const path = join(temporaryDirectory(t), 'app.sock')
  const server = startServer(t)
  await server.listen({ path })
  server.destroy()
  await server.close()
  t.false(existsSync(path))
})

test('close() leaves a path alone that has been replaced since', async (t) => {
  const path = join(temporaryDirectory(t), 'app.sock')
  const server = startServer(t)
  await server.listen({ path })
  rmSync(path)
  mkdirSync(path)
  await server.close()
  t.true(statSync(path).isDirectory())
})

test('readableAll and writableAll set the permissions of a Unix socket', async (t) => {
  const directory = temporaryDirectory(t)
  const server = startServer(t)
  const mode = async (name: string, options: object): Promise<string> => {
    const path = join(directory, name)
    await server.listen({ path, ...options })
    return (statSync(path).mode & 0o666).toString(8)
  }
  const own = Number.parseInt(await mode('own', {}), 8)
  t.is(own & 0o022, 0, 'others cannot connect')
  t.is(await mode('both', { readableAll: true, writableAll: true }), '666')
  t.is(Number.parseInt(await mode('written', { writableAll: true }), 8) & 0o222, 0o222)
})

test('a string of digits is a port, as in net', async (t) => {
  const server = startServer(t)
  const address = await server.listen('0', '127.0.0.1')
  t.true(portOf(address) > 0)
})

test('listen() adopts an inherited listening socket', async (t) => {
  const owner = createNetServer()
  await once(owner.listen(0, '127.0.0.1'), 'listening')
  const address = owner.address()
  const program = run(t, 'listen-on-inherited-socket', { descriptors: [descriptorOf(owner)] })
  // From here on only the program has the socket.
  owner.close()
  t.deepEqual(await program.json(), address)
  const port = Number(typeof address === 'object' && address?.port)
  t.like(JSON.parse(await ask(port)), { localPort: port })
  program.process.kill('SIGTERM')
  t.is(await program.exit(), 0)
  await t.throwsAsync(ask(port), { code: 'ECONNREFUSED' })
})

test('listen() adopts a Unix socket and does not remove its path', async (t) => {
  const path = join(temporaryDirectory(t), 'app.sock')
  const owner = createNetServer()
  await once(owner.listen(path), 'listening')
  const program = run(t, 'listen-on-inherited-socket', { descriptors: [descriptorOf(owner)] })
  // The owner would remove the path on close.
  renameSync(path, `${path}.kept`)
  owner.close()
  t.deepEqual(await program.json(), { path })
  t.regex(await ask(`${path}.kept`), /"pid"/)
  renameSync(`${path}.kept`, path)
  program.process.kill('SIGTERM')
  t.is(await program.exit(), 0)
  t.true(existsSync(path))
})

test('a server can listen on several addresses and emits listening for each in order', async (t) => {
  const path = join(temporaryDirectory(t), 'app.sock')
  const server = startServer(t)
  const emitted: unknown[] = []
  server.on('listening', (address) => emitted.push(address))
  const addresses = [
    await server.listen(0, '127.0.0.1'),
    await server.listen({ path }),
    await server.listen(0, '127.0.0.1'),
  ]
  t.deepEqual(server.addresses(), addresses)
  t.deepEqual(emitted, addresses)
  forkFixture(server, 'describe-connection')
  for (const address of addresses) t.regex(await ask('port' in address ? address.port : address.path), /"pid"/)
})

test('connections of all listeners are queued while there is no worker', async (t) => {
  const server = startServer(t)
  const ports = [await server.listen(0, '127.0.0.1'), await server.listen(0, '127.0.0.1')].map(portOf)
  const callers = ports.map((port) => call(t, port))
  forkFixture(server, 'describe-connection')
  const answers = await Promise.all(callers.map((caller) => caller.answer()))
  t.deepEqual(
    answers.map((text) => JSON.parse(text).localPort),
    ports,
  )
})

test('a signal aborts listen() and later closes the server, as in net', async (t) => {
  const given = await t.throwsAsync(startServer(t).listen({ port: 0, signal: AbortSignal.abort('no') }))
  t.like(given, { name: 'AbortError', code: 'ABORT_ERR', cause: 'no' })

  const naming = new AbortController()
  const named = startServer(t).listen({ port: 0, host: 'localhost', signal: naming.signal })
  naming.abort()
  t.like(await t.throwsAsync(named), { code: 'ABORT_ERR' })

  const server = startServer(t)
  const controller = new AbortController()
  const { port } = await server.listen({ port: 0, host: '127.0.0.1', signal: controller.signal })
  const closed = once(server, 'close')
  controller.abort()
  await within(closed, 'the close event')
  await t.throwsAsync(ask(port), { code: 'ECONNREFUSED' })
})

function descriptorOf(server: NetServer): number {
  const handle: unknown = Reflect.get(server, '_handle')
  if (typeof handle !== 'object' || handle === null) throw new Error('This server does not listen')
  return Number(Reflect.get(handle, 'fd'))
}
