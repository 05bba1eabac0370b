// Descriptors that are never closed, processes at their limit of open files, and threads and processes that end early.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Descriptor } from '@socketserver/node'
import { linuxSerial, linuxTest } from '../helpers/conditional-test.js'
import { fixture } from '../helpers/fixture.js'
import { descriptors } from '../helpers/processes.js'
import { run } from '../helpers/program.js'
import { fill, next, streamPair } from '../helpers/streams.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

linuxTest('unreachable streams are closed when they are collected, unless a call is pending', async (t) => {
  const program = run(t, 'leave-descriptors-to-gc', { execArgv: ['--expose-gc'], args: [temporaryDirectory(t)] })
  const { before, most } = JSON.parse(await program.line())
  t.log({ before, most })
  t.is(await program.line(), 'answered')
  t.is(await program.exit(), 0)
  t.is(program.errors, '')
})

linuxSerial('sending, receiving, closing and abandoning many descriptors leaks none', async (t) => {
  const use = async (): Promise<void> => {
    const [left, right] = streamPair(t)
    for (let i = 0; i < 20; i++) await left.send('.', new Array(50).fill(0))
    for (let i = 0; i < 10; i++) {
      using received = await next(right)
      t.is(received.descriptors.length, 50)
    }
    void fill(left).waits.catch(() => {})
    void left.send('.', new Array(253).fill(0)).catch(() => {})
    left.destroy()
    right.destroy()
  }
  await use()
  const before = descriptors()
  for (let round = 0; round < 20; round++) await use()
  await until(() => descriptors() <= before)
  t.pass()
})

linuxTest(
  'a process at its limit of open files gets an error for each failed call and leaks no descriptor',
  async (t) => {
    const program = run(t, 'use-streams-at-limit', { openFiles: 80, args: [temporaryDirectory(t)] })
    t.deepEqual(await program.json(), { what: 'begun' })
    const emfile = 'too many open files'
    t.like(await program.json(), {
      what: 'receive',
      code: 'ERR_SOCKETSERVER_DESCRIPTORS_LOST',
      data: 'lost',
      cause: `recvmsg EMFILE: ${emfile}`,
    })
    t.deepEqual(await program.json(), { what: 'again', data: 'whole', count: 2 })
    t.like(await program.json(), { what: 'accept', code: 'EMFILE', message: `accept EMFILE: ${emfile}` })
    t.like(await program.json(), { what: 'pair', code: 'EMFILE', message: `socketpair EMFILE: ${emfile}` })
    t.like(await program.json(), { what: 'copy', code: 'EMFILE', message: `dup EMFILE: ${emfile} (descriptor 0)` })
    t.deepEqual(await program.json(), { what: 'send' })
    t.like(await program.json(), { what: 'queue', code: 'EMFILE' })
    t.deepEqual(await program.json(), { leaked: 0 })
    t.like(await program.json(), { data: 'borrowed', descriptors: 1 })
    t.is(await program.exit(), 0)
    t.is(program.errors, '')
  },
)

for (const how of ['terminated', 'exits'] as const) {
  linuxSerial(
    `a thread that ${how === 'exits' ? how : `is ${how}`} with open streams of every kind leaks none`,
    async (t) => {
      const path = join(temporaryDirectory(t), 'socket')
      const once = async (): Promise<void> => {
        const [ours, theirs] = streamPair(t)
        const fd = Descriptor.copyOf(theirs).release()
        theirs.destroy()
        const thread = new Worker(fixture('open-streams-in-thread'), { workerData: { fd, path }, execArgv: [] })
        const ready = new Promise((resolve) => thread.once('message', resolve))
        const exited = new Promise((resolve) => thread.once('exit', resolve))
        // In the same process and with the same copy of the binding as the test.
        await ours.send('asked', [0])
        using received = await next(ours)
        t.is(received.data.toString(), 'thread asked')
        t.is(received.descriptors.length, 1)
        await within(ready, 'the thread')
        if (how === 'exits') thread.postMessage('exit')
        else void thread.terminate()
        t.is(await within(exited, 'the exit'), how === 'exits' ? 0 : 1)
        // The stream ends at once, not at the next garbage collection.
        t.is(await within(ours.receive(), 'the end'), null)
        t.false(existsSync(path))
        ours.destroy()
      }
      await once()
      const before = descriptors()
      for (let round = 0; round < 10; round++) await once()
      await until(() => descriptors() <= before)
    },
  )
}

linuxTest('a process with pending calls exits without an error', async (t) => {
  const [left, right] = streamPair(t)
  const program = run(t, 'exit-with-pending-streams', { descriptors: [right.fd] })
  right.destroy()
  using received = await next(left)
  t.is(received.data.toString(), 'in the middle')
  t.is(await program.exit(), 0)
  t.is(program.errors, '')
  t.is(await left.receive(), null)
})
