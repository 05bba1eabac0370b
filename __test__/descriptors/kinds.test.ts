// Whatever a descriptor is of, it travels, and is of the same at the other end. For a UDP socket Node has no documented way
// to its number, and memory no name: see descriptor-languages.test.ts.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, fstatSync, openSync, readSync, statSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { connect, createServer, type Server, Socket } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { TLSSocket } from 'node:tls'
import { Descriptor, type DescriptorSource } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { ask } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { next, streamPair } from '../helpers/streams.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { within } from '../helpers/within.js'

/** Sends one descriptor there and gives what arrives. */
async function travelled(t: ExecutionContext, source: DescriptorSource): Promise<Descriptor> {
  const [left, right] = streamPair(t)
  await left.send('.', [source])
  const [descriptor] = (await next(right)).descriptors
  if (descriptor === undefined) throw new Error('No descriptor has arrived')
  t.teardown(() => descriptor.close())
  return descriptor
}

async function listening(t: ExecutionContext, where: number | string = 0): Promise<Server> {
  const server = createServer()
  t.teardown(() => server.close())
  await once(typeof where === 'string' ? server.listen(where) : server.listen(where, '127.0.0.1'), 'listening')
  return server
}

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

test('a file travels, from its handle, its number and its descriptor', async (t) => {
  const path = join(temporaryDirectory(t), 'file')
  writeFileSync(path, 'contents')
  const handle = await open(path)
  t.teardown(() => handle.close())
  using own = Descriptor.from({ fd: openSync(path, 'r') })
  const { ino } = statSync(path)
  for (const source of [handle, handle.fd, own]) {
    const descriptor = await travelled(t, source)
    t.is(descriptor.kind, 'file')
    t.is(fstatSync(descriptor.fd).ino, ino)
    const buffer = Buffer.alloc(8)
    readSync(descriptor.fd, buffer, 0, 8, 0)
    t.is(buffer.toString(), 'contents')
  }
  t.is((await handle.stat()).ino, ino, 'what was lent is still open')
})

test('a handle that is closed right after send() was called has travelled', async (t) => {
  const [left, right] = streamPair(t)
  const handle = await open(__filename)
  const sent = left.send('.', [handle])
  await handle.close()
  await sent
  const [descriptor] = (await next(right)).descriptors
  t.is(fstatSync(descriptor?.fd ?? -1).ino, statSync(__filename).ino)
  descriptor?.close()
})

test('a pipe travels, and is read at the other end', async (t) => {
  const [left, right] = streamPair(t)
  // Node's own pipes to its children are Unix sockets; a shell's are pipes.
  const relay = [process.execPath, fixture('send-stdin')]
  const shell = spawn('/bin/sh', ['-c', 'echo through a pipe | "$0" "$1"', ...relay], {
    stdio: ['ignore', 'ignore', 'inherit', left.fd],
  })
  const [code] = await within(once(shell, 'exit'), 'the exit')
  t.is(code, 0)
  const [pipe] = (await next(right)).descriptors
  t.is(pipe?.kind, 'pipe')
  t.is(await text(createReadStream('', { fd: pipe?.release() ?? -1 })), 'through a pipe\n')
})

test('a listening socket travels from its server, and listens on', async (t) => {
  const server = await listening(t)
  const descriptor = await travelled(t, server)
  t.is(descriptor.kind, 'listener')
  const port = portOf(server)
  server.close()
  const successor = createServer((socket) => socket.end('successor'))
  t.teardown(() => successor.close())
  await once(successor.listen({ fd: descriptor.release() }), 'listening')
  t.is(await ask(port), 'successor')
})

test('a connection travels from its socket, and is a socket again', async (t) => {
  for (const where of [0, join(temporaryDirectory(t), 'socket')]) {
    const server = await listening(t, where)
    const client = typeof where === 'string' ? connect(where) : connect(portOf(server), '127.0.0.1')
    t.teardown(() => client.destroy())
    const [connection]: Socket[] = await once(server, 'connection')
    const descriptor = await travelled(t, connection ?? 0)
    t.is(descriptor.kind, 'stream')
    const socket = descriptor.socket({ allowHalfOpen: true })
    t.is(descriptor.fd, -1, 'it is the socket that owns it')
    t.true(socket instanceof Socket)
    t.true(socket.allowHalfOpen)
    t.is(socket.remotePort, client.localPort)
    connection?.destroy()
    socket.write('from the new owner')
    t.is(String(await within(once(client, 'data'), 'the data')), 'from the new owner')
    client.write('to the new owner')
    t.is(String(await within(once(socket, 'data'), 'the data')), 'to the new owner')
    socket.destroy()
  }
})

test('directories and devices are told apart', async (t) => {
  for (const [path, kind] of [
    ['/', 'directory'],
    ['/dev/null', 'device'],
  ] as const) {
    using descriptor = Descriptor.from({ fd: openSync(path, 'r') })
    t.is(descriptor.kind, kind)
  }
})

test('a descriptor is open until it is closed, released or disposed of, and says so', (t) => {
  const number = openSync(__filename, 'r')
  const isOpen = (): boolean => {
    try {
      return fstatSync(number).ino === statSync(__filename).ino
    } catch {
      return false
    }
  }
  {
    using descriptor = Descriptor.from({ fd: number })
    t.is(descriptor.fd, number)
    t.is(descriptor.release(), number)
  }
  t.true(isOpen(), 'what was released is not closed')
  const descriptor = Descriptor.from({ fd: number })
  const copy = Descriptor.copyOf(descriptor)
  descriptor.close()
  t.false(isOpen())
  descriptor.close()
  t.is(descriptor.fd, -1)
  t.is(copy.kind, 'file')
  copy.close()
  const closed = { code: 'ERR_SOCKETSERVER_CLOSED' }
  t.throws(() => descriptor.release(), closed)
  t.throws(() => descriptor.socket(), closed)
  t.throws(() => descriptor.kind, closed)
  t.throws(() => Descriptor.copyOf(descriptor), { code: 'ERR_INVALID_ARG_VALUE' })
  t.throws(() => Descriptor.from({ fd: number }), { code: 'EBADF' })
  t.throws(() => Descriptor.from({ fd: -1 }), { code: 'ERR_OUT_OF_RANGE' })
})

test('only a stream socket becomes a net.Socket; anything else stays what it was', async (t) => {
  const server = await listening(t)
  using file = Descriptor.from({ fd: openSync(__filename, 'r') })
  using listener = Descriptor.copyOf(server)
  for (const [descriptor, kind] of [
    [file, 'file'],
    [listener, 'listener'],
  ] as const) {
    t.throws(() => descriptor.socket(), {
      code: 'ERR_SOCKETSERVER_DESCRIPTOR_KIND',
      message: `Descriptor ${descriptor.fd} is not a stream socket but of kind '${kind}'`,
    })
    t.is(descriptor.kind, kind)
  }
})

test('what has no descriptor, or one that is not all there is to it, is refused', async (t) => {
  const [left] = streamPair(t)
  const refused = { code: 'ERR_INVALID_ARG_VALUE', instanceOf: TypeError }
  await t.throwsAsync(left.send('.', [createServer()]), { ...refused, message: /no open descriptor/ })
  await t.throwsAsync(left.send('.', [new Socket()]), { ...refused, message: /no open descriptor/ })
  const socket = new TLSSocket(new Socket())
  t.teardown(() => socket.destroy())
  await t.throwsAsync(left.send('.', [socket]), { ...refused, message: /is encrypted/ })
  const handle = await open(__filename)
  await handle.close()
  await t.throwsAsync(left.send('.', [handle]), { ...refused, message: /no open descriptor/ })
})
