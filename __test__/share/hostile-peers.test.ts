// A hostile or failing peer affects only its own channel, not the server, other workers or their clients.

import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Server, WorkerHandle } from '@socketserver/node'
import type { ExecutionContext } from 'ava'
import { ask, call } from '../helpers/caller.js'
import { linuxTest } from '../helpers/conditional-test.js'
import { ack, credit, ended, frame, hello } from '../helpers/frames.js'
import { CONNECTION, type Peer, peer, WELCOME } from '../helpers/peer.js'
import { run } from '../helpers/program.js'
import { listen, startServer } from '../helpers/served.js'
import { stop } from '../helpers/stop.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'

interface Scene {
  server: Server
  path: string
  port: number
  /** The process id of a worker that keeps to the protocol. */
  other: number
  errors: Error[]
}

async function stage(t: ExecutionContext, options: { helloTimeout?: number } = {}): Promise<Scene> {
  const path = join(temporaryDirectory(t), 'ctl')
  const server = startServer(t)
  const errors: Error[] = []
  server.on('error', (error) => errors.push(error))
  const port = await listen(server)
  await server.share(path, options)
  const other = run(t, 'join', { args: [path] }).process.pid ?? 0
  await once(server, 'worker')
  return { server, path, port, other, errors }
}

/** Joins a peer and returns it with its handle. */
async function joinScene(t: ExecutionContext, { server, path }: Scene): Promise<[Peer, WorkerHandle]> {
  const joined = once(server, 'worker')
  const one = peer(t, path).send(hello())
  await one.receives(WELCOME)
  const [worker]: WorkerHandle[] = await joined
  if (worker === undefined) throw new Error('The peer has not joined')
  return [one, worker]
}

const VIOLATIONS: Readonly<Record<string, readonly [bytes: Buffer, error: RegExp]>> = {
  'acks a connection that it never got': [ack(4711), /connection 4711 is not in flight/],
  'acks a connection twice': [Buffer.concat([ack(1), ack(1)]), /connection 1 is not in flight/],
  'ends a lease that it does not hold': [ended(1), /1 leases ended, 0 were held/],
  'gives credit beyond the limit': [credit(2 ** 32 - 1), /credit of \d+ exceeds the limit of 1048576/],
  'sends a second HELLO': [hello(), /a second HELLO/],
  'sends a frame of the parent': [frame(0x85, 0), /unknown frame kind 0x85/],
  'sends random bytes': [Buffer.alloc(3000, 0xa5), /unknown frame kind 0xa5/],
}

for (const [what, [bytes, error]] of Object.entries(VIOLATIONS)) {
  linuxTest(`a peer that ${what} is disconnected, and its connections go to another worker`, async (t) => {
    const scene = await stage(t)
    const { server, port, other, errors } = scene
    const [violator, handle] = await joinScene(t, scene)
    // With this lease the other worker is busier than the violator.
    const holding = call(t, port)
    await holding.receives(`${other} holds`)
    violator.send(credit(1))
    const sent = call(t, port)
    const isAcked = what === 'acks a connection twice'
    const id = (await violator.receives(CONNECTION)).readUInt32LE(0)
    violator.send(isAcked ? Buffer.concat([ack(id), ack(id)]) : bytes)
    t.deepEqual(await violator.closed(), { reason: 3, detail: 0 })
    await until(() => handle.state === 'exited' && errors.length === 1)
    t.like(errors[0], { code: 'ERR_SOCKETSERVER_PROTOCOL', pid: process.pid })
    t.regex(errors[0]?.message ?? '', isAcked ? /connection \d+ is not in flight/ : error)
    // A connection that the violator had acked is lost with it.
    if (!isAcked) t.is(await sent.send('sent').answer(), `${other} holds, and echoes sent`)
    t.is(await holding.send('held').answer(), `${other} holds, and echoes held`)
    t.is(await ask(port, 'next'), `${other} holds, and echoes next`)
    t.like(server.stats(), { workers: 1, cut: isAcked ? 1 : 0 })
  })
}

linuxTest('connections that a disconnected peer had not taken go to another worker', async (t) => {
  const scene = await stage(t)
  const { server, port, other } = scene
  const holding = call(t, port)
  await holding.receives(`${other} holds`)
  for (const isReset of [true, false]) {
    const [one, handle] = await joinScene(t, scene)
    one.send(credit(1))
    const waiting = call(t, port)
    await one.receives(CONNECTION)
    if (isReset) one.socket.destroy()
    else one.socket.end()
    t.is(await waiting.send('on').answer(), `${other} holds, and echoes on`)
    await until(() => handle.state === 'exited')
  }
  t.is(server.stats().requeued, 2)
  t.is(await holding.send('held').answer(), `${other} holds, and echoes held`)
})

linuxTest('a stopped peer delays no client of another worker and continues afterwards', async (t) => {
  const scene = await stage(t)
  const { port, other, server } = scene
  const running = run(t, 'join', { args: [scene.path] })
  await once(server, 'worker')
  await stop(t, other)
  for (let index = 0; index < 10; index++) t.is(await ask(port, 'x'), `${running.process.pid} holds, and echoes x`)
  process.kill(other, 'SIGCONT')
  running.process.kill('SIGKILL')
  await until(() => server.stats().workers === 1)
  t.is(await ask(port, 'x'), `${other} holds, and echoes x`)
})

linuxTest('silent peers are limited in number and keep no worker from joining', async (t) => {
  const { server, path, port } = await stage(t, { helloTimeout: 0 })
  const before = descriptors()
  const silent = Array.from({ length: 300 }, () => peer(t, path))
  await until(() => server.stats().refused >= 300 - 64)
  // Both ends of the refused peers are closed, and at most 64 pending peers are left.
  await until(() => descriptors() <= before + 2 * 64 + 1)
  run(t, 'join', { args: [path] })
  await once(server, 'worker')
  t.is(server.stats().workers, 2)
  t.regex(await ask(port, 'x'), /holds, and echoes x/)
  for (const one of silent) one.socket.destroy()
  await until(() => descriptors() <= before + 1)
})

linuxTest('peers that flood a server with frames cost it no memory and other clients no answer', async (t) => {
  const scene = await stage(t)
  const { port, server } = scene
  const [flooder] = await joinScene(t, scene)
  const [silent] = await joinScene(t, scene)
  silent.socket.pause()
  const noise = Buffer.concat(Array.from({ length: 2000 }, () => frame(0x08, 0)))
  // The server answers each of these frames, and the peer reads no answer.
  const questions = Buffer.concat(Array.from({ length: 100 }, () => frame(0x06, 64, Buffer.alloc(512))))
  const before = resident()
  for (let round = 0; round < 100; round++) {
    if (!flooder.socket.write(noise)) await once(flooder.socket, 'drain')
    if (!silent.socket.destroyed) silent.socket.write(questions)
    if (round % 10 === 0) t.regex(await ask(port, 'x'), /holds, and echoes x/)
  }
  await until(() => server.stats().workers === 2)
  flooder.socket.destroy()
  await until(() => server.stats().workers === 1)
  t.log(`${((resident() - before) / 2 ** 20).toFixed(1)} MiB more memory`)
  t.true(resident() - before < 64 * 2 ** 20)
})

function descriptors(): number {
  return readdirSync('/proc/self/fd').length
}

/** Returns the resident memory of this process in bytes. */
function resident(): number {
  return Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[1]) * 4096
}
