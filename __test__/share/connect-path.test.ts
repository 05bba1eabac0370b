// connect(path): a process joins whichever server shares the path, and the next one when that has gone.

import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { createServer as createNetServer, type Server as NetServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Server } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { ask, call } from '../helpers/caller.js'
import { frame } from '../helpers/frames.js'
import { run } from '../helpers/program.js'
import { listen, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'

function somewhere(t: ExecutionContext): string {
  return join(temporaryDirectory(t), 'ctl')
}

/** A server of this package that shares the path and listens. */
async function shareAt(t: ExecutionContext, path: string): Promise<{ server: Server; port: number }> {
  const server = startServer(t, { killTimeout: 300 })
  const port = await listen(server)
  await server.share(path)
  return { server, port }
}

/** What answers at a path in place of a server of this package, and does to each that connects what the test says. */
async function impostor(t: ExecutionContext, path: string, treat: (socket: Socket) => void): Promise<NetServer> {
  const server = createNetServer((socket) => treat(socket.on('error', () => {})))
  t.teardown(() => server.close())
  server.listen(path)
  await once(server, 'listening')
  return server
}

/** CLOSE, with a reason and its detail. */
function close(reason: number, detail = 0): Buffer {
  const record = Buffer.alloc(8)
  record.writeUInt32LE(reason, 0)
  record.writeUInt32LE(detail, 4)
  return frame(0x87, 1, record)
}

test('a worker that is there before its server joins when that comes, and again when it comes back', async (t) => {
  const path = somewhere(t)
  const member = run(t, 'join', { args: [path] })
  t.is(await member.line(), 'lost ENOENT')
  for (const round of [0, 1, 2]) {
    const { server, port } = await shareAt(t, path)
    await until(() => member.lines.includes(`joined ${round}`))
    t.is(await ask(port, 'x'), `${member.process.pid} holds, and says x`)
    if (round === 1) server.destroy()
    await server.close()
  }
  await until(() => member.lines.filter((line) => line === 'lost ERR_SOCKETSERVER_CLOSED').length === 2)
  t.true(member.lines.includes('lost ERR_SOCKETSERVER_CONNECTION_LOST'))
  // Both words of a server that closes may come in one read; then the second is what there is to say.
  const drained = member.lines.filter((line) => line.startsWith('drain'))
  t.is(drained.filter((line) => line === 'drain server' || line === 'drain retired').length, 2)
  member.process.kill('SIGTERM')
  t.is(await member.exit(), 0)
  t.is(member.lines.at(-1), 'close')
})

test('a connection that is being answered goes on when the server is killed, and beside the next server', async (t) => {
  const path = somewhere(t)
  const first = run(t, 'share-path', { args: [path] })
  const port = Number(await first.line())
  const member = run(t, 'join', { args: [path, '{"port":0}'] })
  t.is(await first.line(), `worker ${member.process.pid}`)
  const holding = call(t, port)
  await holding.heard('holds')
  first.process.kill('SIGKILL')
  await first.exit()
  const second = run(t, 'share-path', { args: [path, String(port)] })
  t.is(await second.line(), String(port))
  t.is(await second.line(), `worker ${member.process.pid}`)
  const beside = call(t, port)
  await beside.heard('holds')
  holding.say('the old')
  t.is(await holding.answer(), `${member.process.pid} holds, and says the old`)
  beside.say('the new')
  t.is(await beside.answer(), `${member.process.pid} holds, and says the new`)
  // The end of the first was not told to the second, which would have ended the channel for it.
  t.is(await ask(port, 'x'), `${member.process.pid} holds, and says x`)
  t.false(member.lines.some((line) => line.startsWith('error')))
  second.process.kill('SIGTERM')
  t.is(await second.exit(), 0)
})

test('calls of accept() wait on across a restart', async (t) => {
  const path = somewhere(t)
  const { server, port } = await shareAt(t, path)
  const member = run(t, 'join-and-accept', { args: [path, '3'] })
  t.is(await member.line(), 'joined')
  t.is(await ask(port), `to ${member.process.pid}`)
  t.is(await member.line(), 'accepted')
  server.destroy()
  await server.close()
  const next = await shareAt(t, path)
  t.is(await member.line(), 'joined')
  for (let index = 0; index < 2; index++) t.is(await ask(next.port), `to ${member.process.pid}`)
  await until(() => member.lines.filter((line) => line === 'accepted').length === 3)
  t.false(member.lines.some((line) => line.startsWith('rejected')))
})

test('what serves HTTP goes on at the next server, keeps connections alive there, and ended those of the old that idled', async (t) => {
  const path = somewhere(t)
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const get = (port: number): Promise<{ text: string; connection: string | undefined; isReused: boolean }> =>
    new Promise((resolve, reject) => {
      const asked = request({ port, host: '127.0.0.1', agent }, (response) => {
        const { connection } = response.headers
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        response.on('end', () => resolve({ text, connection, isReused: asked.reusedSocket }))
      })
      asked.on('error', reject).end()
    })
  const { server, port } = await shareAt(t, path)
  const member = run(t, 'join-and-serve-http', { args: [path] })
  const text = `from ${member.process.pid}`
  t.is(await member.line(), 'joined')
  t.like(await get(port), { text, connection: 'keep-alive' })
  const closed = performance.now()
  // Its connection idles, and would for a minute.
  await server.close()
  t.true(performance.now() - closed < 10_000)
  const next = await shareAt(t, path)
  t.is(await member.line(), 'joined')
  t.like(await get(next.port), { text, connection: 'keep-alive', isReused: false })
  t.like(await get(next.port), { text, connection: 'keep-alive', isReused: true })
})

test('of two clients of one path each has its port, and they are one worker', async (t) => {
  const path = somewhere(t)
  const server = startServer(t)
  const [one, other] = [await listen(server), await listen(server)]
  const share = await server.share(path)
  const member = run(t, 'join-with-two-ports', { args: [path, String(one), String(other)] })
  await once(server, 'worker')
  t.is(await ask(one), `one of ${member.process.pid}`)
  t.is(await ask(other), `other of ${member.process.pid}`)
  t.is(share.workers.length, 1)
})

for (const [what, reason, words] of [
  [
    'a version that does not fit',
    close(4, 9),
    'it speaks version 9 of the protocol at the most, this side speaks 1 to 2',
  ],
  ['a user that may not join', close(5), 'this user may not join there'],
] as const) {
  test(`${what} is an error that names it, ends the client, and is not tried again`, async (t) => {
    const path = somewhere(t)
    let tries = 0
    await impostor(t, path, (socket) => {
      tries += 1
      socket.end(reason)
    })
    const member = run(t, 'join-and-accept', { args: [path] })
    t.is(await member.line(), 'rejected ERR_SOCKETSERVER_REFUSED')
    t.is(await member.exit(), 0)
    const telling = run(t, 'join', { args: [path] })
    t.is(
      await telling.line(),
      `error ERR_SOCKETSERVER_REFUSED The server at ${path} does not let this process in: ${words}`,
    )
    t.is(await telling.exit(), 0)
    t.is(tries, 2)
  })
}

test('a server that is full, is busy or breaks off is tried again, with longer and longer pauses', async (t) => {
  const path = somewhere(t)
  const times: number[] = []
  await impostor(t, path, (socket) => {
    times.push(performance.now())
    if (times.length % 2 === 0) socket.end(close(6, 1))
    else socket.destroy()
  })
  const member = run(t, 'join', { args: [path, '{"reconnect":{"minDelay":20,"maxDelay":160}}'] })
  await until(() => times.length === 8)
  t.true(member.lines.includes('lost ERR_SOCKETSERVER_REFUSED'))
  t.true(member.lines.includes('lost ERR_SOCKETSERVER_CONNECTION_LOST'))
  // At least half of 20, 40, 80, 160, 160, 160 and 160 milliseconds.
  const [first = 0, last = 0] = [times[0], times.at(-1)]
  t.true(last - first >= 390, `${last - first} ms`)
})

test('what speaks another protocol there is an error, and tried again', async (t) => {
  const path = somewhere(t)
  await impostor(t, path, (socket) => socket.write('220 mail.example.com ESMTP\r\n'))
  const member = run(t, 'join', { args: [path] })
  t.regex(await member.line(), /^error ERR_SOCKETSERVER_PROTOCOL .*broke the protocol: unknown frame kind/)
  t.is(await member.line(), 'lost ERR_SOCKETSERVER_PROTOCOL')
  await until(() => member.lines.length >= 4)
})

test('without reconnecting, a server that is not there is the end, and so is one that goes', async (t) => {
  const path = somewhere(t)
  const options = { args: [path, '{"reconnect":false}'] }
  const early = run(t, 'join', options)
  t.is(await early.line(), `error ENOENT connect ENOENT: no such file or directory ${path}`)
  t.is(await early.line(), 'close')
  t.is(await early.exit(), 0)
  const { server } = await shareAt(t, path)
  const member = run(t, 'join', options)
  t.is(await member.line(), 'joined 0')
  server.destroy()
  t.regex(await member.line(), /^error ERR_SOCKETSERVER_CONNECTION_LOST/)
  t.is(await member.line(), 'close')
  t.is(await member.exit(), 0)
})

test('a path that can never be joined is told of at once', async (t) => {
  const directory = temporaryDirectory(t)
  const member = run(t, 'join', { args: [join(directory, 'x'.repeat(120))] })
  t.regex(await member.line(), /^error ENAMETOOLONG connect ENAMETOOLONG/)
  t.is(await member.exit(), 0)
})

for (const state of ['joined', 'lost']) {
  test(`a client without a reference does not keep its process, ${state}`, async (t) => {
    const path = somewhere(t)
    if (state === 'joined') await shareAt(t, path)
    const member = run(t, 'join-unreferenced', { args: [path, state] })
    t.is(await member.exit(), 0)
  })
}
