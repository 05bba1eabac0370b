// Descriptors are exchanged with a Python program: its standard library supports SCM_RIGHTS since 3.9.

import { execFileSync, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createReadStream, openSync, readSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { Descriptor } from '@socketserver/node'
import test from 'ava'
import { bytes, next, streamPair } from '../helpers/streams.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { within } from '../helpers/within.js'

// In the source folder: the compiler does not copy it.
const FIXTURES = join(__dirname, '..', '..', '..', '__test__', 'descriptors', 'fixtures')

const hasPython = (() => {
  try {
    execFileSync('python3', ['-c', 'import socket; socket.recv_fds'], { stdio: 'ignore' })
    return true
  } catch {
    console.warn('There is no python3 of 3.9 or later: tests with programs in Python are skipped.')
    return false
  }
})()
const withPython = hasPython ? test : test.skip

withPython(
  'a UDP socket, a pipe and memory are received from a Python program, and files are sent to it',
  async (t) => {
    const [left, right] = streamPair(t)
    const child = spawn('python3', [join(FIXTURES, 'descriptors.py')], {
      stdio: ['ignore', 'ignore', 'inherit', right.fd],
    })
    t.teardown(() => child.kill('SIGKILL'))
    const exited = once(child, 'exit')
    // From here on only the Python program has this end. The end still blocks, as that program expects.
    right.destroy()

    const { data, descriptors } = await next(left)
    t.is(data.toString(), 'three')
    t.deepEqual(
      descriptors.map(({ kind }) => kind),
      ['datagram', 'pipe', 'file'],
    )
    const [udp, pipe, memory] = descriptors.map((descriptor) => descriptor.release())
    const socket = createSocket('udp4')
    t.teardown(() => socket.close())
    await new Promise<void>((resolve) => socket.bind({ fd: udp ?? -1 }, resolve))
    const client = createSocket('udp4')
    t.teardown(() => client.close())
    const arrived = once(socket, 'message')
    client.send('datagram', socket.address().port, '127.0.0.1')
    t.is(String((await within(arrived, 'a datagram'))[0]), 'datagram')
    t.is(await text(createReadStream('', { fd: pipe ?? -1 })), 'from Python')
    using owned = Descriptor.from({ fd: memory ?? -1 })
    const buffer = Buffer.alloc(9)
    readSync(owned.fd, buffer, 0, 9, 0)
    t.is(buffer.toString(), 'in memory')

    const directory = temporaryDirectory(t)
    const files = ['one', 'two'].map((name) => {
      writeFileSync(join(directory, name), name)
      return Descriptor.from({ fd: openSync(join(directory, name), 'r') })
    })
    await left.send('files', files)
    for (const file of files) file.close()
    const expected = "files: ['one', 'two']"
    t.is((await bytes(left, expected.length)).data.toString(), expected)
    await left.end()
    const [code] = await within(exited, 'the exit')
    t.is(code, 0)
  },
)

withPython('the close of a received descriptor or of its copy does not wait for the peer', async (t) => {
  const [left, right] = streamPair(t)
  const child = spawn('python3', [join(FIXTURES, 'send-lingering.py')], {
    stdio: ['ignore', 'ignore', 'inherit', right.fd],
  })
  t.teardown(() => child.kill('SIGKILL'))
  right.destroy()
  const { descriptors } = await next(left)
  const [received] = descriptors
  if (received === undefined) throw new Error('No descriptor has arrived')
  const copy = Descriptor.copyOf(received)
  const began = performance.now()
  received.close()
  copy.close()
  const elapsed = performance.now() - began
  t.true(elapsed < 30_000, `${elapsed} ms; the close sleeps for 60 s`)
})
