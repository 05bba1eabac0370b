// server.share(): programs that join are workers like any other.

import { once } from 'node:events'
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RefusedInfo, WorkerHandle } from '@socketserver/node'
import test from 'ava'
import { ask, call } from '../helpers/caller.js'
import { linuxTest, rootTest } from '../helpers/conditional-test.js'
import { hello } from '../helpers/frames.js'
import { peer } from '../helpers/peer.js'
import { run } from '../helpers/program.js'
import { listen, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'

test('a process that the server did not start joins, answers, has a handle, and leaves when the server closes', async (t) => {
  const path = join(temporaryDirectory(t), 'ctl')
  const server = startServer(t)
  const states: string[] = []
  server.on('transition', (worker, from) => states.push(`${from} ${worker.state}`))
  const port = await listen(server)
  const share = await server.share(path)
  t.is(share.path, path)
  const joined = once(server, 'worker')
  const program = run(t, 'join', { args: [path] })
  const [worker]: WorkerHandle[] = await joined
  t.like(worker, { id: 1, pid: program.process.pid, threadId: undefined, generation: 0, restarts: 0, state: 'ready' })
  t.like(worker, { process: undefined, thread: undefined, path, uid: process.getuid?.(), gid: process.getgid?.() })
  t.deepEqual(
    share.workers.map(({ id }) => id),
    [1],
  )
  t.is(await ask(port, 'hello'), `${program.process.pid} holds, and echoes hello`)
  const holding = call(t, port)
  await holding.receives('holds')
  await until(() => worker?.leases === 1)
  t.is(worker?.handled, 2)
  t.like(server.stats(), { workers: 1, states: { starting: 0, ready: 1, draining: 0 }, leases: 1, refused: 0 })
  const exited = once(server, 'exit')
  const closed = server.close()
  holding.send('goodbye')
  t.regex(await holding.answer(), /echoes goodbye$/)
  await closed
  t.like(await exited, [{ id: 1, state: 'exited', handled: 2 }, null, null])
  t.deepEqual(states, ['starting ready', 'ready draining', 'draining exited'])
  t.deepEqual(share.workers, [])
  t.false(existsSync(path))
})

test('a shared path has the given mode, by default 0600, and no other file is left beside it', async (t) => {
  const directory = temporaryDirectory(t)
  const server = startServer(t)
  await server.share(join(directory, 'default'))
  await server.share(join(directory, 'group'), { mode: 0o660 })
  const mode = (name: string): number => statSync(join(directory, name)).mode & 0o777
  t.is(mode('default'), 0o600)
  t.is(mode('group'), 0o660)
  t.deepEqual(readdirSync(directory), ['default', 'group'])
})

test('share() rejects with EADDRINUSE for a path that a server listens on or that is not a socket', async (t) => {
  const directory = temporaryDirectory(t)
  const [path, file] = [join(directory, 'ctl'), join(directory, 'file')]
  writeFileSync(file, 'precious')
  const server = startServer(t)
  await server.share(path)
  for (const taken of [path, file]) {
    const error = { code: 'EADDRINUSE', syscall: 'listen', address: taken }
    t.like(await t.throwsAsync(startServer(t).share(taken)), error)
  }
  t.like(await t.throwsAsync(server.share(join(directory, 'no', 'ctl'))), { code: 'ENOENT' })
})

test('share() replaces the socket file of a killed server', async (t) => {
  const path = join(temporaryDirectory(t), 'ctl')
  const parent = run(t, 'share-path', { args: [path] })
  await parent.line()
  parent.process.kill('SIGKILL')
  await parent.exit()
  t.true(existsSync(path))
  const server = startServer(t)
  await server.share(path)
  run(t, 'join', { args: [path] })
  await once(server, 'worker')
  t.pass()
})

test('closing a share retires its workers and no others', async (t) => {
  const directory = temporaryDirectory(t)
  const [one, other] = [join(directory, 'one'), join(directory, 'other')]
  const server = startServer(t)
  const port = await listen(server)
  const closing = await server.share(one, { drainTimeout: 60_000 })
  const staying = await server.share(other)
  const first = run(t, 'join', { args: [one] })
  await until(() => closing.workers.length === 1)
  const holding = call(t, port)
  await holding.receives('holds')
  run(t, 'join', { args: [other] })
  await until(() => staying.workers.length === 1)
  const closed = closing.close()
  t.false(existsSync(one))
  t.is(closing.close(), closed)
  t.deepEqual(
    closing.workers.map(({ state }) => state),
    ['draining'],
  )
  for (let index = 0; index < 5; index++) t.false((await ask(port, 'x')).startsWith(`${first.process.pid} `))
  holding.send('last')
  t.is(await holding.answer(), `${first.process.pid} holds, and echoes last`)
  await closed
  t.is(staying.workers.length, 1)
  // The path can be shared again.
  const again = await server.share(one)
  await until(() => again.workers.length === 1)
  await again[Symbol.asyncDispose]()
  t.deepEqual(again.workers, [])
})

test('a joined worker that does not finish in time loses its channel and keeps its connections', async (t) => {
  const path = join(temporaryDirectory(t), 'ctl')
  const server = startServer(t)
  const port = await listen(server)
  const share = await server.share(path, { drainTimeout: 50 })
  const program = run(t, 'join', { args: [path] })
  await once(server, 'worker')
  const holding = call(t, port)
  await holding.receives('holds')
  await until(() => server.stats().leases === 1)
  const cut = once(server, 'cut')
  await share.close()
  t.like(await cut, [{ pid: program.process.pid }, { connections: 1, reason: 'timeout' }])
  holding.send('still')
  t.is(await holding.answer(), `${program.process.pid} holds, and echoes still`)
})

test('a joined worker that closes its client is draining at once, while it still holds a connection', async (t) => {
  const path = join(temporaryDirectory(t), 'ctl')
  const server = startServer(t)
  const port = await listen(server)
  const share = await server.share(path)
  run(t, 'join', { args: [path] })
  await once(server, 'worker')
  const holding = call(t, port)
  await holding.receives('holds')
  const [worker] = share.workers
  process.kill(worker?.pid ?? 0, 'SIGTERM')
  await until(() => worker?.state === 'draining')
  t.is(worker?.leases, 1)
  holding.send('last')
  await holding.answer()
  await until(() => worker?.state === 'exited')
})

test('a refused peer gets the reason, is counted and emits refused', async (t) => {
  const path = join(temporaryDirectory(t), 'ctl')
  const server = startServer(t)
  const refused: RefusedInfo[] = []
  const errors: Error[] = []
  server.on('refused', (info) => refused.push(info))
  server.on('error', (error) => errors.push(error))
  await server.share(`${path}-soon`, { helloTimeout: 50 })
  t.deepEqual(await peer(t, `${path}-soon`).closed(), { reason: 7, detail: 50 })
  await server.share(path, { maxWorkers: 1 })
  for (const _ of [1, 2]) t.deepEqual(await peer(t, path).send(hello(8, 9)).closed(), { reason: 4, detail: 6 })
  t.deepEqual(await peer(t, path).send(Buffer.from('GET / HTTP/1.1\r\n\r\n')).closed(), { reason: 3, detail: 0 })
  const member = peer(t, path).send(hello())
  await member.receives(0x81)
  t.deepEqual(await peer(t, path).send(hello()).closed(), { reason: 6, detail: 1 })
  await until(() => refused.length === 5)
  t.deepEqual(
    refused.map(({ reason }) => reason),
    ['late', 'version', 'version', 'protocol', 'full'],
  )
  t.is(refused.shift()?.path, `${path}-soon`)
  for (const info of refused) t.like(info, { path, uid: process.getuid?.(), gid: process.getgid?.() })
  t.is(refused[0]?.message, 'the peer speaks versions 8 to 9, this side speaks 1 to 6')
  t.is(server.stats().refused, 5)
  // An unsupported version is reported once.
  t.is(errors.length, 1)
  t.like(errors[0], { code: 'ERR_SOCKETSERVER_PROTOCOL', address: path })
  t.regex(errors[0]?.message ?? '', /versions 8 to 9, this side speaks 1 to 6$/)
})

rootTest('a process of another user is refused unless it is allowed, even if it can open the path', async (t) => {
  const directory = temporaryDirectory(t)
  const nobody = { uid: 65_534, gid: 65_534 }
  const server = startServer(t)
  const refused: RefusedInfo[] = []
  server.on('refused', (info) => refused.push(info))
  // An abstract name has no mode and no directory that could refuse the user.
  const name = `\0socketserver-${process.pid}-${directory}`
  const closed = await server.share(name)
  const stranger = run(t, 'join', { args: [`@${name.slice(1)}`], ...nobody })
  t.is(
    await stranger.line(),
    `error ERR_SOCKETSERVER_REFUSED The server at ${name} refused this process: this user may not join at this path`,
  )
  t.is(await stranger.line(), 'close')
  t.is(await stranger.exit(), 0)
  t.like(refused, [{ reason: 'not-allowed', pid: stranger.process.pid, ...nobody }])
  t.is(refused.length, 1)
  await closed.close()
  for (const allow of [{ uids: [nobody.uid] }, { gids: [nobody.gid] }]) {
    const share = await server.share(name, { allow })
    const member = run(t, 'join', { args: [`@${name.slice(1)}`], ...nobody })
    await until(() => share.workers.length === 1)
    t.like(share.workers, [{ pid: member.process.pid, ...nobody }])
    await share.close()
    member.process.kill('SIGTERM')
    await member.exit()
  }
})

linuxTest('an abstract name has no file and no mode', async (t) => {
  const server = startServer(t)
  const name = `\0socketserver-${process.pid}`
  const share = await server.share(name)
  t.is(share.path, name)
  const other = startServer(t)
  t.like(await t.throwsAsync(other.share(name)), { code: 'EADDRINUSE' })
  await share.close()
  await other.share(name)
})

test('a draining server refuses share(), and destroy() ends joined workers', async (t) => {
  const path = join(temporaryDirectory(t), 'ctl')
  const server = startServer(t)
  await server.share(path)
  const member = run(t, 'join', { args: [path] })
  await once(server, 'worker')
  await server.drain()
  t.like(await t.throwsAsync(server.share(`${path}2`)), { code: 'ERR_SOCKETSERVER_CLOSED' })
  const exited = once(server, 'exit')
  server.destroy()
  t.like(await exited, [{ pid: member.process.pid, state: 'exited' }, null, null])
  t.false(existsSync(path))
  await until(() => member.lines.includes('lost ERR_SOCKETSERVER_CONNECTION_LOST'))
})
