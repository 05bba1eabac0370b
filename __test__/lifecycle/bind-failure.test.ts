import { chmodSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { createServer as createNetServer } from 'node:net'
import { join } from 'node:path'
import { SocketServerError } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { ask } from '../helpers/caller.js'
import { type ProgramOptions, run } from '../helpers/program.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'

test('listen() on a port in use rejects with the EADDRINUSE of net, and the server continues', async (t) => {
  const taken = await listen(startServer(t))
  const server = startServer(t)
  const error = await t.throwsAsync(server.listen(taken, '127.0.0.1'), { instanceOf: SocketServerError })
  const byNet = await errorOfNet(taken)
  const { message, code, errno, syscall, address, port } = byNet
  t.like(error, { message, code, errno, syscall, address, port, name: 'SocketServerError' })
  t.is(code, 'EADDRINUSE')
  t.deepEqual(server.addresses(), [])
  const other = await listen(server)
  forkFixture(server, 'describe-connection')
  t.like(JSON.parse(await ask(other)), { localPort: other })
})

test('a server that listens twice on one port gets EADDRINUSE and continues to listen', async (t) => {
  const server = startServer(t)
  const port = await listen(server)
  await t.throwsAsync(server.listen(port, '127.0.0.1'), { code: 'EADDRINUSE' })
  t.is(server.addresses().length, 1)
  forkFixture(server, 'describe-connection')
  t.like(JSON.parse(await ask(port)), { localPort: port })
})

test('listen() on a path in use rejects with EADDRINUSE and the path', async (t) => {
  const path = join(temporaryDirectory(t), 'app.sock')
  await startServer(t).listen({ path })
  const error = await t.throwsAsync(startServer(t).listen({ path }), { code: 'EADDRINUSE' })
  t.like(error, { syscall: 'listen', address: path, port: -1 })
  t.is(error?.message, `listen EADDRINUSE: address already in use ${path}`)
})

test('listen() in a directory that does not exist rejects with ENOENT, where libuv reports EACCES', async (t) => {
  const path = join(temporaryDirectory(t), 'none', 'app.sock')
  const error = await t.throwsAsync(startServer(t).listen(path), { code: 'ENOENT' })
  t.like(error, { syscall: 'listen', address: path, message: `listen ENOENT: no such file or directory ${path}` })
})

test('listen() in a directory without write permission rejects with EACCES, and the process continues', async (t) => {
  const directory = join(temporaryDirectory(t), 'closed')
  mkdirSync(directory)
  chmodSync(join(directory, '..'), 0o755)
  chmodSync(directory, 0o555)
  const path = join(directory, 'app.sock')
  const program = run(t, 'listen-and-report', { args: [JSON.stringify({ path })], ...ordinaryUser() })
  t.like(await program.json(), { code: 'EACCES', syscall: 'listen', address: path, name: 'SocketServerError' })
  await continues(t, program)
})

const privileged = firstUnprivilegedPort() > 1023 ? test : test.skip

privileged(
  'listen() on a privileged port rejects with EACCES for an ordinary user, and the process continues',
  async (t) => {
    const options = JSON.stringify({ port: 1023, host: '127.0.0.1' })
    const program = run(t, 'listen-and-report', { args: [options], ...ordinaryUser() })
    t.like(await program.json(), {
      code: 'EACCES',
      syscall: 'listen',
      address: '127.0.0.1',
      port: 1023,
      message: 'listen EACCES: permission denied 127.0.0.1:1023',
    })
    await continues(t, program)
  },
)

async function continues(t: ExecutionContext, program: ReturnType<typeof run>): Promise<void> {
  t.deepEqual(await program.json(), { alive: true })
  t.is(await program.exit(), 0)
}

/** Root ignores permissions: as root the program runs as the user nobody. */
function ordinaryUser(): ProgramOptions {
  return process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
}

/** Returns 0 on systems without privileged ports, such as macOS. */
function firstUnprivilegedPort(): number {
  if (process.platform !== 'linux') return 0
  return Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'))
}

function errorOfNet(
  where: number | { path: string },
): Promise<NodeJS.ErrnoException & { address?: string; port?: number }> {
  return new Promise((resolve, reject) => {
    const server = createNetServer().once('error', resolve)
    const succeeded = (): void => reject(new Error('net can listen there'))
    if (typeof where === 'number') server.listen(where, '127.0.0.1', succeeded)
    else server.listen(where, succeeded)
  })
}

test('listen() rejects a path that is too long for a Unix socket instead of truncating it', async (t) => {
  const path = join(temporaryDirectory(t), 'a'.repeat(120))
  const error = await t.throwsAsync(startServer(t).listen({ path }), { instanceOf: SocketServerError })
  t.like(error, { code: 'ENAMETOOLONG', syscall: 'listen', address: path })
  t.regex(error?.message ?? '', /^listen ENAMETOOLONG: /)
})

test('listen() on a host that does not exist rejects with the error of getaddrinfo', async (t) => {
  const error = await t.throwsAsync(startServer(t).listen(0, 'no-such-host.invalid'))
  t.true(error instanceof SocketServerError)
  t.like(error, { syscall: 'getaddrinfo', hostname: 'no-such-host.invalid' })
  t.regex(error?.message ?? '', /^getaddrinfo (ENOTFOUND|EAI_AGAIN) no-such-host\.invalid$/)
})

test('listen() on an address of another machine rejects with EADDRNOTAVAIL', async (t) => {
  // In TEST-NET-1 (RFC 5737), which no machine has.
  const error = await t.throwsAsync(startServer(t).listen(0, '192.0.2.1'))
  t.like(error, { code: 'EADDRNOTAVAIL', syscall: 'listen', address: '192.0.2.1' })
})

test('listen() on a descriptor that cannot listen rejects with the system error', async (t) => {
  const server = startServer(t)
  const file = openSync(__filename, 'r')
  t.like(await t.throwsAsync(server.listen({ fd: file })), { code: 'ENOTSOCK', syscall: 'listen' })
  const error = await t.throwsAsync(server.listen({ fd: 98_765 }), { instanceOf: SocketServerError })
  t.like(error, { code: 'EBADF', errno: -9, syscall: 'listen', message: 'listen EBADF: bad file descriptor' })
  t.deepEqual(server.addresses(), [])
})
