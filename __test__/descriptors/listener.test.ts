import { once } from 'node:events'
import { existsSync, openSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { Descriptor, DescriptorListener, type DescriptorListenOptions, DescriptorStream } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { linuxTest } from '../helpers/conditional-test.js'
import { isSettled, next } from '../helpers/streams.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { within } from '../helpers/within.js'

async function listen(
  t: ExecutionContext,
  path: string,
  options?: DescriptorListenOptions,
): Promise<DescriptorListener> {
  const listener = await DescriptorListener.listen(path, options)
  t.teardown(() => listener.close())
  return listener
}

async function call(t: ExecutionContext, path: string): Promise<DescriptorStream> {
  const stream = await DescriptorStream.connect(path)
  t.teardown(() => stream.destroy())
  return stream
}

function socketPath(t: ExecutionContext): string {
  return join(temporaryDirectory(t), 'socket')
}

test('a listener accepts streams in the order of arrival', async (t) => {
  const path = socketPath(t)
  const listener = await listen(t, path)
  const early = await call(t, path)
  const [first, second] = [listener.accept(), listener.accept()]
  t.false(await isSettled(second))
  const late = await call(t, path)
  await early.send('early', [0])
  await late.send('late', [0])
  for (const [accepted, text] of [[await first, 'early'], [await within(second, 'the second')]] as const) {
    const { data, descriptors } = await next(accepted)
    t.is(data.toString(), text ?? 'late')
    t.is(descriptors.length, 1)
    accepted.destroy()
  }
  t.is(await early.receive(), null)
})

test('a for await loop accepts until close(), which removes the path', async (t) => {
  const path = socketPath(t)
  const listener = await listen(t, path)
  const loop = (async () => {
    for await (const stream of listener) await stream.close()
  })()
  for (let i = 0; i < 3; i++) t.is(await (await call(t, path)).receive(), null)
  const waits = listener.accept()
  listener.close()
  listener.close()
  await within(loop, 'the end of the loop')
  await t.throwsAsync(waits, {
    code: 'ERR_SOCKETSERVER_CLOSED',
    message: /^accept\(\) failed: the listener is closed$/,
  })
  await t.throwsAsync(listener.accept(), { code: 'ERR_SOCKETSERVER_CLOSED' })
  t.is(listener.fd, -1)
  t.false(existsSync(path))
})

test('an aborted accept() takes no stream', async (t) => {
  const path = socketPath(t)
  const listener = await listen(t, path)
  const controller = new AbortController()
  const given = listener.accept({ signal: controller.signal })
  controller.abort()
  await t.throwsAsync(given, { code: 'ABORT_ERR' })
  await call(t, path)
  await within(listener.accept(), 'the stream')
})

test('the socket file has the given mode, by default 0600', async (t) => {
  const directory = temporaryDirectory(t)
  for (const [options, mode] of [
    [{}, 0o600],
    [{ mode: 0o660 }, 0o660],
    [{ mode: 0o666 }, 0o666],
  ] as const) {
    const path = join(directory, mode.toString(8))
    await listen(t, path, options)
    t.is(statSync(path).mode & 0o777, mode)
  }
})

test('a stale socket file is replaced, any other file is EADDRINUSE', async (t) => {
  const path = socketPath(t)
  const killed = await listen(t, path)
  // A killed process leaves such a file behind.
  renameSync(path, `${path}.kept`)
  killed.close()
  renameSync(`${path}.kept`, path)
  await listen(t, path)
  const inUse = { code: 'EADDRINUSE', message: `listen EADDRINUSE: address already in use ${path}` }
  t.like(await t.throwsAsync(DescriptorListener.listen(path), inUse), { syscall: 'listen', address: path })
  await call(t, path)
  writeFileSync(`${path}.file`, '')
  await t.throwsAsync(DescriptorListener.listen(`${path}.file`), { code: 'EADDRINUSE' })
})

linuxTest('an abstract name has no file and can be listened on only once', async (t) => {
  const name = `\0socketserver-test-${process.pid}`
  const listener = await listen(t, name)
  const stream = await call(t, name)
  await stream.send('abstract')
  t.is((await next(await listener.accept())).data.toString(), 'abstract')
  await t.throwsAsync(DescriptorListener.listen(name), {
    code: 'EADDRINUSE',
    message: `listen EADDRINUSE: address already in use @socketserver-test-${process.pid}`,
  })
  listener.close()
  await t.throwsAsync(DescriptorStream.connect(name), { code: 'ECONNREFUSED' })
})

linuxTest('connect() waits while the backlog is full, until its signal is aborted', async (t) => {
  const path = socketPath(t)
  const listener = await listen(t, path, { backlog: 1 })
  await call(t, path)
  await call(t, path)
  const waits = DescriptorStream.connect(path)
  const controller = new AbortController()
  const given = DescriptorStream.connect(path, { signal: controller.signal })
  t.false(await isSettled(Promise.race([waits, given])))
  controller.abort()
  await t.throwsAsync(given, { code: 'ABORT_ERR' })
  const accepted = await listener.accept()
  const connected = await within(waits, 'the connection')
  connected.destroy()
  accepted.destroy()
})

test('errors of connect() and listen() are those of net', async (t) => {
  const path = socketPath(t)
  const error = await t.throwsAsync(DescriptorStream.connect(path), { code: 'ENOENT' })
  t.like(error, { syscall: 'connect', address: path, message: `connect ENOENT: no such file or directory ${path}` })
  const [net] = await new Promise<Error[]>((resolve) => connect(path).once('error', (...args) => resolve(args)))
  t.is(Reflect.get(net ?? {}, 'errno'), Reflect.get(error ?? {}, 'errno'))
  await t.throwsAsync(DescriptorStream.connect(path, { signal: AbortSignal.abort() }), { code: 'ABORT_ERR' })
  await t.throwsAsync(DescriptorListener.listen(join(path, 'below')), { code: 'ENOENT', message: /^listen ENOENT/ })
  await t.throwsAsync(DescriptorStream.connect('a'.repeat(200)), { code: 'ENAMETOOLONG' })
})

test('an error about an argument names the argument', async (t) => {
  const type = { code: 'ERR_INVALID_ARG_TYPE', instanceOf: TypeError }
  const value = { code: 'ERR_INVALID_ARG_VALUE', instanceOf: TypeError }
  for (const name of ['listen', 'connect'] as const) {
    const begin = (path: unknown, options?: unknown): Promise<unknown> =>
      name === 'listen'
        ? Reflect.apply(DescriptorListener.listen, DescriptorListener, [path, options])
        : Reflect.apply(DescriptorStream.connect, DescriptorStream, [path, options])
    await t.throwsAsync(begin(5), { ...type, message: /"path"/ })
    await t.throwsAsync(begin(''), { ...value, message: /"path"/ })
    await t.throwsAsync(begin('\0'), { ...value, message: /"path"/ })
    await t.throwsAsync(begin('a\0b'), { ...value, message: /null bytes/ })
    await t.throwsAsync(begin('/a', 5), { ...type, message: /"options"/ })
  }
  const range = { code: 'ERR_OUT_OF_RANGE', instanceOf: RangeError }
  await t.throwsAsync(DescriptorListener.listen('/a', { mode: 0o1000 }), { ...range, message: /options.mode/ })
  await t.throwsAsync(DescriptorListener.listen('/a', { backlog: -1 }), { ...range, message: /options.backlog/ })
})

test('from() takes over a listening socket with its backlog', async (t) => {
  const path = socketPath(t)
  const listener = await listen(t, path)
  const stream = await call(t, path)
  const copy = Descriptor.copyOf(listener)
  const adopted = DescriptorListener.from(copy)
  t.teardown(() => adopted.close())
  t.is(copy.fd, -1, 'the listener owns the descriptor')
  await stream.send('waited')
  t.is((await next(await adopted.accept())).data.toString(), 'waited')
  adopted.close()
  t.true(existsSync(path), 'the path belongs to the first listener')

  using file = Descriptor.from({ fd: openSync(__filename, 'r') })
  const wrong = {
    code: 'ERR_SOCKETSERVER_DESCRIPTOR_KIND',
    message: /not an AF_UNIX stream socket that listens but of/,
  }
  t.throws(() => DescriptorListener.from(file), wrong)
  t.throws(() => DescriptorListener.from(stream), wrong)
  const tcp = createServer()
  t.teardown(() => tcp.close())
  await once(tcp.listen(0, '127.0.0.1'), 'listening')
  using tcpListener = Descriptor.copyOf(tcp)
  t.throws(() => DescriptorListener.from(tcpListener), wrong)
  t.is(tcpListener.kind, 'listener')
})
