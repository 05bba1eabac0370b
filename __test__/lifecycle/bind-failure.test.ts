import { chmodSync, mkdirSync, readFileSync } from 'node:fs'
import { createServer as createNetServer } from 'node:net'
import { join } from 'node:path'
import { SocketServerError } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { ask } from '../helpers/caller.js'
import { type ProgramOptions, run } from '../helpers/program.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'

test('a port in use is a promise rejected with EADDRINUSE, as net puts it, and the server lives', async (t) => {
  const taken = await listen(startServer(t))
  const server = startServer(t)
  const error = await t.throwsAsync(server.listen(taken, '127.0.0.1'), { instanceOf: SocketServerError })
  const byNet = await errorOfNet(taken)
  const { message, code, errno, syscall, address, port } = byNet
  t.like(error, { message, code, errno, syscall, address, port, name: 'SocketServerError' })
  t.is(code, 'EADDRINUSE')
  t.deepEqual(server.addresses(), [])
  const other = await listen(server)
  forkFixture(server, 'hello')
  t.like(JSON.parse(await ask(other)), { localPort: other })
})

test('a server cannot listen twice on a port of its own, and goes on listening there', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  await t.throwsAsync(server.listen(port, '127.0.0.1'), { code: 'EADDRINUSE' })
  t.is(server.addresses().length, 1)
  forkFixture(server, 'hello')
  t.like(JSON.parse(await ask(port)), { localPort: port })
})

test('a path in use is EADDRINUSE and names the path', async (t) => {
  const path = join(temporaryDirectory(t), 'app.sock')
  await startServer(t).listen({ path })
  const error = await t.throwsAsync(startServer(t).listen({ path }), { code: 'EADDRINUSE' })
  t.like(error, { syscall: 'listen', address: path, port: -1 })
  t.is(error?.message, `listen EADDRINUSE: address already in use ${path}`)
})

test('a path in a directory that does not exist is ENOENT, which libuv would have called EACCES', async (t) => {
  const path = join(temporaryDirectory(t), 'none', 'app.sock')
  const error = await t.throwsAsync(startServer(t).listen(path), { code: 'ENOENT' })
  t.like(error, { syscall: 'listen', address: path, message: `listen ENOENT: no such file or directory ${path}` })
})

test('a path that an ordinary user may not write to is EACCES, and the process lives', async (t) => {
  const directory = join(temporaryDirectory(t), 'closed')
  mkdirSync(directory)
  chmodSync(join(directory, '..'), 0o755)
  chmodSync(directory, 0o555)
  const path = join(directory, 'app.sock')
  const program = run(t, 'listen-and-tell', { args: [JSON.stringify({ path })], ...ordinaryUser() })
  t.like(await program.json(), { code: 'EACCES', syscall: 'listen', address: path, name: 'SocketServerError' })
  await lives(t, program)
})

const privileged = firstUnprivilegedPort() > 1023 ? test : test.skip

privileged('a privileged port is EACCES for an ordinary user, and the process lives', async (t) => {
  const options = JSON.stringify({ port: 1023, host: '127.0.0.1' })
  const program = run(t, 'listen-and-tell', { args: [options], ...ordinaryUser() })
  t.like(await program.json(), {
    code: 'EACCES',
    syscall: 'listen',
    address: '127.0.0.1',
    port: 1023,
    message: 'listen EACCES: permission denied 127.0.0.1:1023',
  })
  await lives(t, program)
})

async function lives(t: ExecutionContext, program: ReturnType<typeof run>): Promise<void> {
  t.deepEqual(await program.json(), { alive: true })
  t.is(await program.exit(), 0)
}

/** Root may do everything: then the program is run as nobody. */
function ordinaryUser(): ProgramOptions {
  return process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
}

/** 0 on systems that have no such thing as a privileged port, macOS among them. */
function firstUnprivilegedPort(): number {
  if (process.platform !== 'linux') return 0
  return Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'))
}

function errorOfNet(
  where: number | { path: string },
): Promise<NodeJS.ErrnoException & { address?: string; port?: number }> {
  return new Promise((resolve, reject) => {
    const server = createNetServer().once('error', resolve)
    const told = (): void => reject(new Error('net can listen there'))
    if (typeof where === 'number') server.listen(where, '127.0.0.1', told)
    else server.listen(where, told)
  })
}
