// A parent hands its listening sockets to another process, which continues to serve them.

import { existsSync, openSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { Descriptor, DescriptorStream } from '@socketserver/node'
import test from 'ava'
import { ask, call, refuses } from '../helpers/caller.js'
import { run } from '../helpers/program.js'
import { startServer } from '../helpers/served.js'
import { next, streamPair } from '../helpers/streams.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'

test('another process takes over the listening socket and answers the clients in its backlog', async (t) => {
  const [left, right] = DescriptorStream.pair()
  const old = run(t, 'hand-on-listener', { descriptors: [left.fd] })
  const successor = run(t, 'take-over-listener', { descriptors: [right.fd] })
  left.destroy()
  right.destroy()
  const { port } = JSON.parse(await old.line())
  // The first client fills the queue, so that the second stays in the kernel's backlog.
  const queued = call(t, port)
  await queued.connected()
  const waits = call(t, port).send('before\n')
  await waits.connected()

  process.kill(old.process.pid ?? 0, 'SIGUSR2')
  const taken = JSON.parse(await successor.line())
  t.deepEqual(taken, { inode: taken.inode, address: { address: '127.0.0.1', family: 'IPv4', port }, owned: -1 })
  if (process.platform === 'linux') t.true(sockets(successor.process.pid).includes(`socket:[${taken.inode}]`))
  t.deepEqual(JSON.parse(await old.line()), { inode: taken.inode })
  t.is(await old.exit(), 0)

  t.like(JSON.parse(await waits.answer()), { localPort: port })
  t.like(JSON.parse(await ask(port)), { localPort: port })
  // The old process had accepted this connection and took it along.
  await t.throwsAsync(queued.answer(), { code: 'ECONNRESET' })
  successor.process.kill('SIGTERM')
  t.is(await successor.exit(), 0)
  t.true(await refuses(port))
})

test('descriptors() returns copies of the listening sockets in order, and closing them does not affect the server', async (t) => {
  const path = join(temporaryDirectory(t), 'socket')
  const server = startServer(t)
  t.deepEqual(server.descriptors(), [])
  await server.listen(0, '127.0.0.1')
  await server.listen({ path })
  const copies = server.descriptors()
  t.deepEqual(
    copies.map(({ kind }) => kind),
    ['listener', 'listener'],
  )
  for (const copy of copies) copy.close()
  const { port } = Object(server.addresses()[0])
  t.false(await refuses(port))
  await server.close({ timeout: 0 })
  t.throws(() => server.descriptors(), { code: 'ERR_SOCKETSERVER_CLOSED', message: /descriptors\(\) failed/ })
})

test('the file of a Unix socket that has been handed on is not removed by its first owner', async (t) => {
  const path = join(temporaryDirectory(t), 'socket')
  const old = startServer(t)
  await old.listen({ path })
  const [left, right] = streamPair(t)
  await left.send('.', old.descriptors())
  const successor = startServer(t)
  const [fd] = (await next(right)).descriptors
  t.deepEqual(await successor.listen({ fd: fd ?? -1 }), { path })
  await old.close()
  t.true(existsSync(path))
  t.false(await refuses(path))
})

test('listen() takes over a descriptor only if it can listen on it', async (t) => {
  const server = startServer(t)
  using device = Descriptor.from({ fd: openSync('/dev/null', 'r') })
  await t.throwsAsync(server.listen({ fd: device }), { code: 'ENOTSOCK' })
  t.is(device.kind, 'device')
  device.close()
  await t.throwsAsync(server.listen({ fd: device }), { code: 'ERR_INVALID_ARG_VALUE', message: /options.fd.*closed/ })
  await t.throwsAsync(server.listen(Object({ fd: 'a' })), { code: 'ERR_INVALID_ARG_TYPE' })
})

function sockets(pid = 0): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)]
    } catch {
      // Closed since.
      return []
    }
  })
}
