// connect(path): a process joins the server that shares the path, and later the next server at that path.

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

function sharedPath(t: ExecutionContext): string {
  return join(temporaryDirectory(t), 'ctl')
}

/** Starts a server that shares the path and listens. */
async function shareAt(t: ExecutionContext, path: string): Promise<{ server: Server; port: number }> {
  const server = startServer(t, { killTimeout: 300 })
  const port = await listen(server)
  await server.share(path)
  return { server, port }
}

/** Listens at a path in place of a server of this package and calls `treat` for each connection. */
async function impostor(t: ExecutionContext, path: string, treat: (socket: Socket) => void): Promise<NetServer> {
  const server = createNetServer((socket) => treat(socket.on('error', () => {})))
  t.teardown(() => server.close())
  server.listen(path)
  await once(server, 'listening')
  return server
}

/** Returns a CLOSE frame with a reason and its detail. */
function close(reason: number, detail = 0): Buffer {
  const record = Buffer.alloc(8)
  record.writeUInt32LE(reason, 0)
  record.writeUInt32LE(detail, 4)
  return frame(0x87, 1, record)
}

test('a worker that starts before its server joins as soon as the server starts, and again after each restart', async (t) => {
  const path = sharedPath(t)
  const member = run(t, 'join', { args: [path] })
  t.is(await member.line(), 'lost ENOENT')
  for (const round of [0, 1, 2]) {
    const { server, port } = await shareAt(t, path)
    await until(() => member.lines.includes(`joined ${round}`))
    t.is(await ask(port, 'x'), `${member.process.pid} holds, and echoes x`)
    if (round === 1) server.destroy()
    await server.close()
  }
  await until(() => member.lines.filter((line) => line === 'lost ERR_SOCKETSERVER_CLOSED').length === 2)
  t.true(member.lines.includes('lost ERR_SOCKETSERVER_CONNECTION_LOST'))
  // DRAIN and RETIRE of a closing server may arrive in one read; then only the second is an event.
  const drained = member.lines.filter((line) => line.startsWith('drain'))
  t.is(drained.filter((line) => line === 'drain server' || line === 'drain retired').length, 2)
  member.process.kill('SIGTERM')
  t.is(await member.exit(), 0)
  t.is(member.lines.at(-1), 'close')
})

test('a connection continues when its server is killed, also while the worker serves the next server', async (t) => {
  const path = sharedPath(t)
  const first = run(t, 'share-path', { args: [path] })
  const port = Number(await first.line())
  const member = run(t, 'join', { args: [path, '{"port":0}'] })
  t.is(await first.line(), `worker ${member.process.pid}`)
  const holding = call(t, port)
  await holding.receives('holds')
  first.process.kill('SIGKILL')
  await first.exit()
  const second = run(t, 'share-path', { args: [path, String(port)] })
  t.is(await second.line(), String(port))
  t.is(await second.line(), `worker ${member.process.pid}`)
  const beside = call(t, port)
  await beside.receives('holds')
  holding.send('the old')
  t.is(await holding.answer(), `${member.process.pid} holds, and echoes the old`)
  beside.send('the new')
  t.is(await beside.answer(), `${member.process.pid} holds, and echoes the new`)
  // The worker does not report the end of a lease of the first server to the second, which would end the channel.
  t.is(await ask(port, 'x'), `${member.process.pid} holds, and echoes x`)
  t.false(member.lines.some((line) => line.startsWith('error')))
  second.process.kill('SIGTERM')
  t.is(await second.exit(), 0)
})

test('pending accept() calls wait across a restart of the server', async (t) => {
  const path = sharedPath(t)
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

test('a served HTTP server ends idle connections of a closed server and keeps connections of the next server alive', async (t) => {
  const path = sharedPath(t)
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
  const closing = performance.now()
  // The connection is idle and has a keepAliveTimeout of a minute.
  await server.close()
  t.true(performance.now() - closing < 50_000)
  const next = await shareAt(t, path)
  t.is(await member.line(), 'joined')
  t.like(await get(next.port), { text, connection: 'keep-alive', isReused: false })
  t.like(await get(next.port), { text, connection: 'keep-alive', isReused: true })
})

test('two clients of one path serve two ports and are one worker', async (t) => {
  const path = sharedPath(t)
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
    'an unsupported version',
    close(4, 9),
    'the parent supports the protocol up to version 9, this worker versions 1 to 6',
  ],
  ['a user that is not allowed to join', close(5), 'this user may not join at this path'],
] as const) {
  test(`${what} is an error that ends the client without a retry`, async (t) => {
    const path = sharedPath(t)
    let tries = 0
    await impostor(t, path, (socket) => {
      tries += 1
      socket.end(reason)
    })
    const member = run(t, 'join-and-accept', { args: [path] })
    t.is(await member.line(), 'rejected ERR_SOCKETSERVER_REFUSED')
    t.is(await member.exit(), 0)
    const telling = run(t, 'join', { args: [path] })
    t.is(await telling.line(), `error ERR_SOCKETSERVER_REFUSED The server at ${path} refused this process: ${words}`)
    t.is(await telling.exit(), 0)
    t.is(tries, 2)
  })
}

test('a client retries a server that is full or disconnects, with exponential backoff', async (t) => {
  const path = sharedPath(t)
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

test('a listener that speaks another protocol is an error, and the client retries', async (t) => {
  const path = sharedPath(t)
  await impostor(t, path, (socket) => socket.write('220 mail.example.com ESMTP\r\n'))
  const member = run(t, 'join', { args: [path] })
  t.regex(await member.line(), /^error ERR_SOCKETSERVER_PROTOCOL .*broke the protocol: unknown frame kind/)
  t.is(await member.line(), 'lost ERR_SOCKETSERVER_PROTOCOL')
  await until(() => member.lines.length >= 4)
})

test('with reconnect: false, a missing server and a lost connection end the client', async (t) => {
  const path = sharedPath(t)
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

test('a path that can never be joined is an error at once', async (t) => {
  const directory = temporaryDirectory(t)
  const member = run(t, 'join', { args: [join(directory, 'x'.repeat(120))] })
  t.regex(await member.line(), /^error ENAMETOOLONG connect ENAMETOOLONG/)
  t.is(await member.exit(), 0)
})

for (const state of ['joined', 'lost']) {
  test(`an unreferenced client does not keep its process alive, ${state}`, async (t) => {
    const path = sharedPath(t)
    if (state === 'joined') await shareAt(t, path)
    const member = run(t, 'join-unreferenced', { args: [path, state] })
    t.is(await member.exit(), 0)
  })
}
