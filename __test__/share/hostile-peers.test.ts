// What joins may mean no good. It ends alone: those that mean well, their clients and the server are as if it had not been.

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
  /** The process id of a worker that means well. */
  decent: number
  errors: Error[]
}

async function stage(t: ExecutionContext, options: { helloTimeout?: number } = {}): Promise<Scene> {
  const path = join(temporaryDirectory(t), 'ctl')
  const server = startServer(t)
  const errors: Error[] = []
  server.on('error', (error) => errors.push(error))
  const port = await listen(server)
  await server.share(path, options)
  const decent = run(t, 'join', { args: [path] }).process.pid ?? 0
  await once(server, 'worker')
  return { server, path, port, decent, errors }
}

/** A peer that has joined, and its handle. */
async function joinScene(t: ExecutionContext, { server, path }: Scene): Promise<[Peer, WorkerHandle]> {
  const joined = once(server, 'worker')
  const one = peer(t, path).say(hello())
  await one.heard(WELCOME)
  const [worker]: WorkerHandle[] = await joined
  if (worker === undefined) throw new Error('It has not joined')
  return [one, worker]
}

const LIES: Readonly<Record<string, readonly [say: Buffer, error: RegExp]>> = {
  'acks what it never got': [ack(4711), /connection 4711 is not under way/],
  'acks one twice': [Buffer.concat([ack(1), ack(1)]), /connection 1 is not under way/],
  'ends what it does not hold': [ended(1), /1 leases ended, 0 were held/],
  'gives credit beyond any limit': [credit(2 ** 32 - 1), /credit of \d+ is beyond the limit of 1048576/],
  'says hello again': [hello(), /a second hello/],
  'speaks as a parent does': [frame(0x85, 0), /unknown frame kind 0x85/],
  'sends noise': [Buffer.alloc(3000, 0xa5), /unknown frame kind 0xa5/],
}

for (const [what, [lie, error]] of Object.entries(LIES)) {
  linuxTest(`one that ${what} ends alone, and what it had been sent goes to another`, async (t) => {
    const scene = await stage(t)
    const { server, port, decent, errors } = scene
    const [liar, handle] = await joinScene(t, scene)
    // The decent one has a lease then, so that the liar is the less busy.
    const holding = call(t, port)
    await holding.heard(`${decent} holds`)
    liar.say(credit(1))
    const coveted = call(t, port)
    const isFirst = what === 'acks one twice'
    const id = (await liar.heard(CONNECTION)).readUInt32LE(0)
    liar.say(isFirst ? Buffer.concat([ack(id), ack(id)]) : lie)
    t.deepEqual(await liar.farewell(), { reason: 3, detail: 0 })
    await until(() => handle.state === 'exited' && errors.length === 1)
    t.like(errors[0], { code: 'ERR_SOCKETSERVER_PROTOCOL', pid: process.pid })
    t.regex(errors[0]?.message ?? '', isFirst ? /connection \d+ is not under way/ : error)
    // What it had acked was its own, and is gone with it.
    if (!isFirst) t.is(await coveted.say('coveted').answer(), `${decent} holds, and says coveted`)
    t.is(await holding.say('held').answer(), `${decent} holds, and says held`)
    t.is(await ask(port, 'next'), `${decent} holds, and says next`)
    t.like(server.stats(), { workers: 1, cut: isFirst ? 1 : 0 })
  })
}

linuxTest('one that is killed, or breaks off, gives what it had not taken to another', async (t) => {
  const scene = await stage(t)
  const { server, port, decent } = scene
  const holding = call(t, port)
  await holding.heard(`${decent} holds`)
  for (const rude of [true, false]) {
    const [one, handle] = await joinScene(t, scene)
    one.say(credit(1))
    const waiting = call(t, port)
    await one.heard(CONNECTION)
    if (rude) one.socket.destroy()
    else one.socket.end()
    t.is(await waiting.say('on').answer(), `${decent} holds, and says on`)
    await until(() => handle.state === 'exited')
  }
  t.is(server.stats().requeued, 2)
  t.is(await holding.say('held').answer(), `${decent} holds, and says held`)
})

linuxTest('one that is stopped keeps nobody waiting who is not its own, and goes on afterwards', async (t) => {
  const scene = await stage(t)
  const { port, decent, server } = scene
  const other = run(t, 'join', { args: [scene.path] })
  await once(server, 'worker')
  await stop(t, decent)
  for (let index = 0; index < 10; index++) t.is(await ask(port, 'x'), `${other.process.pid} holds, and says x`)
  process.kill(decent, 'SIGCONT')
  other.process.kill('SIGKILL')
  await until(() => server.stats().workers === 1)
  t.is(await ask(port, 'x'), `${decent} holds, and says x`)
})

linuxTest('those that connect and say nothing have no part in the server, and keep nobody out', async (t) => {
  const { server, path, port, decent } = await stage(t, { helloTimeout: 0 })
  const before = descriptors()
  const silent = Array.from({ length: 300 }, () => peer(t, path))
  await until(() => server.stats().refused >= 300 - 64)
  // Of those that had to go neither end is left, and of the others there are no more than the lobby holds.
  await until(() => descriptors() <= before + 2 * 64 + 1)
  run(t, 'join', { args: [path] })
  await once(server, 'worker')
  t.is(server.stats().workers, 2)
  t.regex(await ask(port, 'x'), /holds, and says x/)
  for (const one of silent) one.socket.destroy()
  t.true(decent > 0)
  await until(() => descriptors() <= before + 1)
})

linuxTest('those that flood a server with frames cost it no memory, and the others no answer', async (t) => {
  const scene = await stage(t)
  const { port, server } = scene
  const [flooder] = await joinScene(t, scene)
  const [deaf] = await joinScene(t, scene)
  deaf.socket.pause()
  const noise = Buffer.concat(Array.from({ length: 2000 }, () => frame(0x08, 0)))
  // Each is answered, and none of the answers read.
  const questions = Buffer.concat(Array.from({ length: 100 }, () => frame(0x06, 64, Buffer.alloc(512))))
  const before = resident()
  for (let round = 0; round < 100; round++) {
    if (!flooder.socket.write(noise)) await once(flooder.socket, 'drain')
    if (!deaf.socket.destroyed) deaf.socket.write(questions)
    if (round % 10 === 0) t.regex(await ask(port, 'x'), /holds, and says x/)
  }
  await until(() => server.stats().workers === 2)
  flooder.socket.destroy()
  await until(() => server.stats().workers === 1)
  t.log(`${((resident() - before) / 2 ** 20).toFixed(1)} MiB more`)
  t.true(resident() - before < 64 * 2 ** 20)
})

function descriptors(): number {
  return readdirSync('/proc/self/fd').length
}

/** Bytes of memory that this process has. */
function resident(): number {
  return Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[1]) * 4096
}
