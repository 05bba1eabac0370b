// Descriptors of each kind are sent and received. UDP sockets and memory are in languages.test.ts: Node has no documented
// way to the descriptor of a UDP socket, and anonymous memory has no path.

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

/** Sends one descriptor through a stream and returns the received one. */
async function sendAndReceive(t: ExecutionContext, source: DescriptorSource): Promise<Descriptor> {
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

test('a file is sent by its FileHandle, its number or its Descriptor', async (t) => {
  const path = join(temporaryDirectory(t), 'file')
  writeFileSync(path, 'contents')
  const handle = await open(path)
  t.teardown(() => handle.close())
  using own = Descriptor.from({ fd: openSync(path, 'r') })
  const { ino } = statSync(path)
  for (const source of [handle, handle.fd, own]) {
    const descriptor = await sendAndReceive(t, source)
    t.is(descriptor.kind, 'file')
    t.is(fstatSync(descriptor.fd).ino, ino)
    const buffer = Buffer.alloc(8)
    readSync(descriptor.fd, buffer, 0, 8, 0)
    t.is(buffer.toString(), 'contents')
  }
  t.is((await handle.stat()).ino, ino, 'the file handle is still open')
})

test('a file handle that is closed right after the call of send() arrives', async (t) => {
  const [left, right] = streamPair(t)
  const handle = await open(__filename)
  const sent = left.send('.', [handle])
  await handle.close()
  await sent
  const [descriptor] = (await next(right)).descriptors
  t.is(fstatSync(descriptor?.fd ?? -1).ino, statSync(__filename).ino)
  descriptor?.close()
})

test('a pipe can be sent and then read', async (t) => {
  const [left, right] = streamPair(t)
  // Node connects its children by Unix sockets; a shell uses pipes.
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

test('a listening socket can be sent by its net.Server and continues to listen', async (t) => {
  const server = await listening(t)
  const descriptor = await sendAndReceive(t, server)
  t.is(descriptor.kind, 'listener')
  const port = portOf(server)
  server.close()
  const successor = createServer((socket) => socket.end('successor'))
  t.teardown(() => successor.close())
  await once(successor.listen({ fd: descriptor.release() }), 'listening')
  t.is(await ask(port), 'successor')
})

test('a connection can be sent by its net.Socket and becomes a socket again', async (t) => {
  for (const where of [0, join(temporaryDirectory(t), 'socket')]) {
    const server = await listening(t, where)
    const client = typeof where === 'string' ? connect(where) : connect(portOf(server), '127.0.0.1')
    t.teardown(() => client.destroy())
    const [connection]: Socket[] = await once(server, 'connection')
    const descriptor = await sendAndReceive(t, connection ?? 0)
    t.is(descriptor.kind, 'stream')
    const socket = descriptor.socket({ allowHalfOpen: true })
    t.is(descriptor.fd, -1, 'the socket owns the descriptor')
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

test('directories and devices have different kinds', async (t) => {
  for (const [path, kind] of [
    ['/', 'directory'],
    ['/dev/null', 'device'],
  ] as const) {
    using descriptor = Descriptor.from({ fd: openSync(path, 'r') })
    t.is(descriptor.kind, kind)
  }
})

test('a descriptor stays open until close(), release() or disposal', (t) => {
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
  t.true(isOpen(), 'a released descriptor is not closed')
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

test('only a stream socket becomes a net.Socket; other descriptors stay open and unchanged', async (t) => {
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

test('objects without an open descriptor and encrypted sockets are refused', async (t) => {
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
