import { openSync } from 'node:fs'
import { Descriptor, DescriptorListener, DescriptorStream } from '@socketserver/node'
import test from 'ava'
import { run } from '../helpers/program.js'
import { bytes, fill, isSettled, next, streamPair } from '../helpers/streams.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

test('bytes and descriptors arrive together in both directions', async (t) => {
  const [left, right] = streamPair(t)
  await left.send('text', [0, 0])
  await right.send(new Uint16Array([0x4142, 0x4344]))
  const there = await next(right)
  t.is(there.data.toString(), 'text')
  t.is(there.descriptors.length, 2)
  const back = await next(left)
  t.deepEqual([...back.data], [...new Uint8Array(new Uint16Array([0x4142, 0x4344]).buffer)])
  t.deepEqual(back.descriptors, [])
})

test('several receive() calls wait and are answered in order', async (t) => {
  const [left, right] = streamPair(t)
  const calls = [right.receive({ size: 1 }), right.receive({ size: 2 }), right.receive()]
  t.false(await isSettled(Promise.race(calls)))
  await left.send('abc')
  await left.send('def', [0])
  const received = await within(Promise.all(calls), 'every receive()')
  t.deepEqual(
    received.map((each) => [each?.data.toString(), each?.descriptors.length]),
    [
      ['a', 0],
      ['bc', 0],
      ['def', 1],
    ],
  )
})

test('a stream reads nothing before receive(), and no more than its size', async (t) => {
  const [left, right] = streamPair(t)
  const { size, waits } = fill(left)
  t.false(await isSettled(waits))
  let received = 0
  for (const part of [1, 1000, 2 ** 20]) {
    const { data } = (await right.receive({ size: part })) ?? { data: Buffer.alloc(0) }
    t.true(data.length <= part)
    received += data.length
  }
  t.is(received + (await bytes(right, size - received)).data.length, size)
  await within(waits, 'the rest')
})

test('send() waits for buffer space in order, and its arguments can be changed and closed at once', async (t) => {
  const [left, right] = streamPair(t)
  const { size, waits } = fill(left)
  const buffer = Buffer.from('first')
  const first = left.send(buffer, [Descriptor.copyOf(0)])
  buffer.fill('x')
  const file = Descriptor.from({ fd: openSync(__filename, 'r') })
  const second = left.send('second', [file])
  file.close()
  const empty = left.send('')
  for (const call of [waits, first, second, empty]) t.false(await isSettled(call))
  const { data, count } = await bytes(right, size + 11)
  t.is(data.subarray(size).toString(), 'firstsecond')
  t.is(count, 2)
  await within(Promise.all([waits, first, second, empty]), 'every call')
})

test('after the end each receive() returns null, and a for await loop ends', async (t) => {
  const [left, right] = streamPair(t)
  await left.send('a')
  await left.end()
  await left.end()
  await t.throwsAsync(left.send('b'), {
    code: 'ERR_SOCKETSERVER_CLOSED',
    message: /^send\(\) failed: the stream is ended$/,
  })
  const texts: string[] = []
  for await (const { data } of right) texts.push(data.toString())
  t.deepEqual(texts, ['a'])
  t.deepEqual(await Promise.all([right.receive(), right.receive()]), [null, null])
  // The other direction still works.
  await right.send('c')
  t.is((await next(left)).data.toString(), 'c')
})

test('end() and close() resolve after all data has been sent', async (t) => {
  for (const how of ['end', 'close'] as const) {
    const [left, right] = streamPair(t)
    const { size } = fill(left)
    const done = left[how]()
    t.false(await isSettled(done))
    await bytes(right, size)
    await within(done, 'the end')
    t.is(await right.receive(), null)
  }
})

test('a for await loop can be left and started again, and close() ends it', async (t) => {
  const [left, right] = streamPair(t)
  await left.send('a')
  for await (const { data } of right) {
    t.is(data.toString(), 'a')
    break
  }
  await left.send('b')
  const loop = (async () => {
    for await (const { data } of right) t.is(data.toString(), 'b')
  })()
  t.false(await isSettled(loop))
  await right.close()
  await within(loop, 'the end of the loop')
})

test('send() rejects with EPIPE when the peer has closed, pending calls included', async (t) => {
  const [left, right] = streamPair(t)
  const calls = [fill(left).waits, left.send('a', [0])]
  const failed = Promise.allSettled(calls)
  right.destroy()
  for (const outcome of await within(failed, 'the failures')) {
    t.is(outcome.status, 'rejected')
    const reason = outcome.status === 'rejected' ? outcome.reason : undefined
    // Linux reports to the first call that sent data was never read.
    t.true(['EPIPE', 'ECONNRESET'].includes(reason.code), reason.message)
    t.is(reason.syscall, 'sendmsg')
  }
  await t.throwsAsync(left.send('a'), { code: 'EPIPE', message: /^sendmsg EPIPE: broken pipe/ })
})

test('a peer that closes with unread data is reported once', async (t) => {
  const [left, right] = streamPair(t)
  await left.send('unread')
  right.destroy()
  if (process.platform === 'linux') {
    await t.throwsAsync(left.receive(), { code: 'ECONNRESET', message: /^recvmsg ECONNRESET/ })
  }
  t.is(await left.receive(), null)
})

test('an aborted receive() loses no data', async (t) => {
  const [left, right] = streamPair(t)
  await t.throwsAsync(right.receive({ signal: AbortSignal.abort('no') }), { code: 'ABORT_ERR' })
  const controller = new AbortController()
  const given = right.receive({ signal: controller.signal })
  const stays = right.receive()
  controller.abort('reason')
  t.like(await t.throwsAsync(given), { name: 'AbortError', cause: 'reason' })
  await left.send('for the second', [0])
  t.is((await within(stays, 'the data'))?.descriptors.length, 1)
  // The stream also works after its only call was aborted.
  const alone = new AbortController()
  const only = right.receive({ signal: alone.signal })
  alone.abort()
  await t.throwsAsync(only, { code: 'ABORT_ERR' })
  await left.send('later')
  t.is((await next(right)).data.toString(), 'later')
})

test('destroy() rejects pending calls, and later calls reject too', async (t) => {
  const [left, right] = streamPair(t)
  const sends = [fill(left).waits, left.send('a')]
  const receive = left.receive()
  const failed = Promise.allSettled([...sends, receive])
  left.destroy()
  left.destroy()
  for (const outcome of await failed) {
    t.like(outcome, { status: 'rejected', reason: { code: 'ERR_SOCKETSERVER_CLOSED' } })
  }
  t.is(left.fd, -1)
  for (const call of [left.send('a'), left.receive()]) {
    await t.throwsAsync(call, { code: 'ERR_SOCKETSERVER_CLOSED', message: / failed: the stream is closed$/ })
  }
  await left.end()
  await left.close()
  t.true((await next(right)).data.length > 0)
})

test('async disposal closes a stream, and sync disposal destroys it', async (t) => {
  const [left, right] = DescriptorStream.pair()
  {
    await using stream = left
    using other = right
    await stream.send('a')
    t.is((await next(other)).data.toString(), 'a')
  }
  t.deepEqual([left.fd, right.fd], [-1, -1])
})

test('an error about an argument names the argument, and nothing is sent', async (t) => {
  const [left, right] = streamPair(t)
  const send = (data: unknown, descriptors?: unknown): Promise<void> =>
    Reflect.apply(left.send, left, [data, descriptors])
  const range = { code: 'ERR_OUT_OF_RANGE', instanceOf: RangeError }
  const type = { code: 'ERR_INVALID_ARG_TYPE', instanceOf: TypeError }
  await t.throwsAsync(send('a', new Array(254).fill(0)), { ...range, message: /descriptors.length.*<= 253.*254/ })
  await t.throwsAsync(send('', [0]), { code: 'ERR_INVALID_ARG_VALUE', message: /"data".*one byte/ })
  await t.throwsAsync(send(5), { ...type, message: /"data"/ })
  await t.throwsAsync(send('a', 0), { ...type, message: /"descriptors"/ })
  await t.throwsAsync(send('a', [0, {}]), { ...type, message: /"descriptors\[1\]"/ })
  await t.throwsAsync(send('a', [-1]), { ...range, message: /"descriptors\[0\]"/ })
  await t.throwsAsync(send('a', [0, 999_999]), { code: 'EBADF', message: /sendmsg EBADF: .*descriptor 999999/ })
  await t.throwsAsync(right.receive({ size: 0 }), { ...range, message: /options.size/ })
  await t.throwsAsync(right.receive(Object({ signal: 5 })), { ...type, message: /options.signal/ })
  await left.send('b', new Array(253).fill(0))
  const { data, descriptors } = await next(right)
  t.deepEqual([data.toString(), descriptors.length], ['b', 253])
})

test('from() takes over only an AF_UNIX stream socket; other descriptors stay with their owner', (t) => {
  using file = Descriptor.from({ fd: openSync(__filename, 'r') })
  t.throws(() => DescriptorStream.from(file), {
    code: 'ERR_SOCKETSERVER_DESCRIPTOR_KIND',
    message: /^Descriptor \d+ is not an AF_UNIX stream socket but of kind 'file'$/,
  })
  t.is(file.kind, 'file')
  t.throws(() => DescriptorStream.from({ fd: 999_999 }), { code: 'EBADF' })
  t.throws(() => DescriptorStream.from(Object({ fd: 'a' })), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => DescriptorStream.from(Object(5)), { code: 'ERR_INVALID_ARG_TYPE' })
  file.close()
  t.throws(() => DescriptorStream.from(file), { code: 'ERR_INVALID_ARG_VALUE', message: /no open descriptor/ })
})

test('streams, listeners and descriptors cannot be constructed directly', (t) => {
  for (const type of [DescriptorStream, DescriptorListener, Descriptor]) {
    t.throws(() => Reflect.construct(type, []), { code: 'ERR_ILLEGAL_CONSTRUCTOR', instanceOf: TypeError })
  }
})

test('a stream can be sent through a stream', async (t) => {
  const [left, right] = streamPair(t)
  const [near, far] = streamPair(t)
  await left.send('a stream', [far])
  far.destroy()
  const [descriptor] = (await next(right)).descriptors
  const stream = DescriptorStream.from(descriptor ?? { fd: -1 })
  t.teardown(() => stream.destroy())
  t.is(descriptor?.fd, -1, 'the stream owns the descriptor')
  await near.send('through')
  t.is((await next(stream)).data.toString(), 'through')
})

test('a pending receive() keeps the process alive, unless unref() was called', async (t) => {
  const [left, right] = streamPair(t)
  const held = run(t, 'await-stream', { descriptors: [right.fd], args: ['ref'] })
  const free = run(t, 'await-stream', { descriptors: [right.fd], args: ['unref'] })
  t.is(await held.line(), 'waiting')
  t.is(await free.exit(), 0)
  t.deepEqual(free.lines, ['waiting'])
  t.is(held.process.exitCode, null)
  await left.send('a')
  await until(() => held.lines.length === 2)
  t.is(await held.exit(), 0)
})
