import type { Server } from '@socketserver/node'
import type { ExecutionContext } from 'ava'
import { ask } from '../helpers/caller.js'
import { linuxSerial } from '../helpers/conditional-test.js'
import { ack, credit, ended, frame, hello } from '../helpers/frames.js'
import { descriptors } from '../helpers/processes.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

const VIOLATIONS: Record<string, { bytes: Buffer[]; message: RegExp; exits?: boolean }> = {
  'bytes that are no frame': { bytes: [Buffer.from('GET / HTTP/1.1\r\n\r\n')], message: /unknown frame kind 0x2f/ },
  'an ack before its hello': { bytes: [ack(1)], message: /the first frame was not a HELLO/ },
  'a second hello': { bytes: [hello(), hello()], message: /a second HELLO/ },
  'another version': { bytes: [hello(7, 9)], message: /the peer speaks versions 7 to 9, this side speaks 1/ },
  'an ack of a connection that it was never sent': {
    bytes: [hello(), ack(999)],
    message: /connection 999 is not in flight/,
  },
  'the end of leases that it does not hold': { bytes: [hello(), ended(5)], message: /5 leases ended, 0 were held/ },
  'more credit than the limit': { bytes: [hello(), credit(2 ** 32 - 1)], message: /credit of 4294967295 exceeds/ },
  'a frame with too few records': {
    bytes: [hello(), frame(2, 2, Buffer.alloc(8))],
    message: /length 8 does not fit 2 rec/,
  },
  'a frame with too many records': {
    bytes: [hello(), frame(2, 65, Buffer.alloc(520))],
    message: /65 records in frame kind/,
  },
  'a frame that only the parent may send': { bytes: [hello(), frame(0x86, 0)], message: /unknown frame kind 0x86/ },
  'half a frame before it exits': {
    bytes: [hello(), ack(1).subarray(0, 11)],
    message: /ended within a frame/,
    exits: true,
  },
}

for (const [what, { bytes, message, exits }] of Object.entries(VIOLATIONS)) {
  linuxSerial(`a worker that sends ${what} is reported and disconnected, and other workers continue`, async (t) => {
    const { server, port, errors, other } = await serverWithAnotherWorker(t)
    const before = descriptors()
    const { pool, reports } = forkFixture(server, 'write-frames-on-command', { restart: false })
    // Some of these workers never connect.
    pool.ready.catch(() => {})
    await reports.next('started')
    const [violator] = pool.workers
    violator?.process.send(Buffer.concat(bytes).toString('hex') + (exits ? '!' : ''))
    await until(() => errors.length > 0)

    const [error] = errors
    t.is(error?.code, 'ERR_SOCKETSERVER_PROTOCOL')
    t.regex(error?.message ?? '', message)
    t.is(error?.pid, violator?.pid, 'also for a worker whose exit was reported first')
    t.is(server.stats().workers, 1)
    t.is(await ask(port, 'token\n'), `${other} token\n`)
    violator?.process.kill('SIGKILL')
    await until(() => pool.workers.length === 0 && descriptors() <= before)
    t.is(errors.length, 1)
  })
}

linuxSerial(
  'a worker that sends descriptors is reported and disconnected, and the descriptors are closed',
  async (t) => {
    const { server, port, errors, other } = await serverWithAnotherWorker(t)
    const before = descriptors()
    const { pool } = forkFixture(server, 'send-undeclared-descriptors', { restart: false })
    const [violator] = pool.workers
    await until(() => errors.length > 0)
    t.is(errors[0]?.code, 'ERR_SOCKETSERVER_PROTOCOL')
    t.regex(errors[0]?.message ?? '', /descriptors arrived that no frame declares/)
    t.is(await ask(port, 'token\n'), `${other} token\n`)
    violator?.process.kill('SIGKILL')
    await until(() => pool.workers.length === 0 && descriptors() <= before)
  },
)

linuxSerial(
  'connections that were sent to a worker before its protocol violation are answered by another worker',
  async (t) => {
    const server = startServer(t)
    const port = await listen(server)
    const { pool, reports } = forkFixture(server, 'write-frames-on-command', { restart: false })
    server.on('error', () => {})
    await reports.next('started')
    const [violator] = pool.workers
    const send = (bytes: Buffer): void => void violator?.process.send(bytes.toString('hex'))
    send(Buffer.concat([hello(), credit(10)]))
    await pool.ready
    const answers = Array.from({ length: 10 }, (_, index) => ask(port, `token-${index}\n`))
    await until(() => server.stats().accepted === 10 && server.stats().queued === 0)
    t.is(server.stats().handedOff, 0)
    send(frame(0, 0))
    const { pool: others } = forkFixture(server, 'answer-tokens')
    const [successor] = others.workers
    t.deepEqual(
      await Promise.all(answers),
      answers.map((_, index) => `${successor?.pid} token-${index}\n`),
    )
    t.true(server.stats().requeued >= 10)
  },
)

interface Failure extends Error {
  code?: string
  pid?: number
}

/** Starts a server with one worker that keeps to the protocol, `other`. */
async function serverWithAnotherWorker(
  t: ExecutionContext,
): Promise<{ server: Server; port: number; errors: Failure[]; other: number | undefined }> {
  const server = startServer(t)
  const errors: Failure[] = []
  server.on('error', (error) => errors.push(error))
  const port = await listen(server)
  const { pool } = forkFixture(server, 'answer-tokens')
  await pool.ready
  await ask(port)
  // By then the parent has closed its copy of that connection.
  await until(() => server.stats().handedOff === 1 && server.stats().leases === 0)
  return { server, port, errors, other: pool.workers[0]?.pid }
}
