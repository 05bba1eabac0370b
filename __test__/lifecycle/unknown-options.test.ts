// An unknown option is usually a mistyped name: it is refused, never ignored.

import { getEventListeners } from 'node:events'
import { createServer, Descriptor, DescriptorListener, DescriptorStream, type Server } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { fixture } from '../helpers/fixture.js'
import { isRunning } from '../helpers/processes.js'
import { forkFixture, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'

type Call = (server: Server, options: object) => unknown

const make: Call = (_server, options) => Reflect.apply(createServer, undefined, [options])
const fork: Call = (server, options) => server.fork(fixture('describe-connection'), options)
const threads: Call = (server, options) => server.threads(fixture('describe-connection'), options)
const listen: Call = (server, options) => Reflect.apply(server.listen, server, [options])
const share: Call = (server, options) => server.share('/nowhere/ctl', options)
const reload: Call = (server, options) =>
  forkFixture(server, 'describe-connection', { workers: 0 }).pool.reload(options)
const streamListen: Call = (_server, options) => DescriptorListener.listen('/nowhere/a', options)
const streamConnect: Call = (_server, options) => DescriptorStream.connect('/nowhere/a', options)
const receive: Call = (_server, options) => DescriptorStream.pair()[0].receive(options)
const socket: Call = (_server, options) => Descriptor.copyOf(DescriptorStream.pair()[0]).socket(options)

const UNKNOWN: readonly [title: string, call: Call, options: object, option: string, nearest: string][] = [
  ['createServer()', make, { maxQueu: 5 }, 'maxQueu', 'maxQueue'],
  ['createServer()', make, { MaxQueue: 5 }, 'MaxQueue', 'maxQueue'],
  ['fork()', fork, { worker: 4 }, 'worker', 'workers'],
  ['fork() by a prototype', fork, Object.create({ wokers: 4 }), 'wokers', 'workers'],
  ['fork()', fork, { restart: { minUpTime: 4 } }, 'restart.minUpTime', 'minUptime'],
  ['fork()', fork, { argv: ['a'] }, 'argv', 'args'],
  ['threads()', threads, { wokers: 4 }, 'wokers', 'workers'],
  ['threads()', threads, { args: ['a'] }, 'args', 'argv'],
  ['listen()', listen, { port: 0, hots: '::1' }, 'hots', 'host'],
  ['share()', share, { maxWorker: 4 }, 'maxWorker', 'maxWorkers'],
  ['share()', share, { allow: { uid: [1] } }, 'allow.uid', 'uids'],
  ['drain()', (server, given) => server.drain(given), { timeOut: 5 }, 'timeOut', 'timeout'],
  ['close()', (server, given) => server.close(given), { timout: 5 }, 'timout', 'timeout'],
  ['reload()', reload, { atonce: 5 }, 'atonce', 'atOnce'],
  ['DescriptorListener.listen()', streamListen, { moode: 5 }, 'moode', 'mode'],
  ['DescriptorStream.connect()', streamConnect, { signall: 5 }, 'signall', 'signal'],
  ['receive()', receive, { sizes: 5 }, 'sizes', 'size'],
  ['socket()', socket, { allowHalfopen: true }, 'allowHalfopen', 'allowHalfOpen'],
]

for (const [title, call, options, option, nearest] of UNKNOWN) {
  test(`${title} refuses the unknown option ${option} and suggests ${nearest}`, async (t) => {
    const message = `The "options.${option}" property is unknown; did you mean '${nearest}'`
    await refuses(t, call, options, message)
  })
}

const FOREIGN: readonly [title: string, call: Call, options: object, message: string][] = [
  ['createServer()', make, { port: 80 }, '"options.port" property is unknown; known are maxQueue, queueTimeout'],
  ['createServer()', make, { constructor: 4 }, '"options.constructor" property is unknown; known are maxQueue'],
  ['listen()', listen, { port: 0, reusePort: true }, '"options.reusePort" property is not supported: the kernel'],
  ['listen()', listen, { port: 0, exclusive: true }, '"options.exclusive" property is not supported: workers never'],
  [
    'fork()',
    fork,
    { timeout: 5000 },
    '"options.timeout" property is not supported: the pool would restart each worker',
  ],
  ['DescriptorStream.connect()', streamConnect, { size: 5 }, '"options.size" property is unknown; known are signal'],
]

for (const [title, call, options, message] of FOREIGN) {
  test(`${title} refuses options of other calls with a reason: ${message}`, async (t) => {
    await refuses(t, call, options, message)
  })
}

async function refuses(t: ExecutionContext, call: Call, options: object, message: string): Promise<void> {
  const server = startServer(t)
  const error = await t.throwsAsync(async () => void (await call(server, options)), { instanceOf: TypeError })
  t.like(error, { code: 'ERR_INVALID_ARG_VALUE' })
  t.true(error?.message.includes(message), error?.message)
  t.deepEqual(server.addresses(), [])
}

test('an undefined option is ignored', (t) => {
  const server = startServer(t)
  t.notThrows(() => Reflect.apply(createServer, undefined, [{ maxQueu: undefined }]))
  t.notThrows(() => fork(server, { workers: 0, timeout: undefined }))
})

test('fork() and threads() take the options of child_process.fork() and of Worker', async (t) => {
  const server = startServer(t)
  const pool = server.fork(fixture('describe-connection'), {
    workers: 1,
    cwd: '/',
    detached: false,
    env: process.env,
    execArgv: [],
    execPath: process.execPath,
    killSignal: 'SIGTERM',
    serialization: 'advanced',
    silent: true,
    windowsVerbatimArguments: true,
  })
  await pool.ready
  const threadPool = server.threads(fixture('describe-connection'), {
    workers: 1,
    argv: ['0'],
    execArgv: [],
    name: 'a worker',
    resourceLimits: { maxOldGenerationSizeMb: 200 },
    stdout: false,
    stderr: false,
    stdin: false,
    trackUnmanagedFds: true,
    workerData: 5,
  })
  await t.notThrowsAsync(threadPool.ready)
})

test('aborting the signal of fork() ends the pool without restarting a worker', async (t) => {
  const server = startServer(t)
  const { signal, abort } = aborter()
  const pool = server.fork(fixture('describe-connection'), { workers: 2, signal })
  await pool.ready
  const pids = pool.workers.map(({ pid }) => pid ?? 0)
  const started: number[] = []
  const exits: unknown[] = []
  server.on('start', ({ id }) => started.push(id))
  server.on('exit', (_worker, code, by) => exits.push([code, by]))
  abort()
  await until(() => exits.length === 2)
  await pool.close()
  t.deepEqual(exits, [
    [0, null],
    [0, null],
  ])
  t.deepEqual(started, [])
  t.false(pids.some(isRunning))
})

test('fork() starts no worker for an aborted signal, and a closed pool removes its abort listener', async (t) => {
  const server = startServer(t)
  const started: number[] = []
  server.on('start', ({ id }) => started.push(id))
  t.throws(() => server.fork(fixture('describe-connection'), { workers: 1, signal: AbortSignal.abort('why') }), {
    name: 'AbortError',
    code: 'ABORT_ERR',
  })
  const { signal } = aborter()
  const closed = server.fork(fixture('describe-connection'), { workers: 0, signal })
  t.is(getEventListeners(signal, 'abort').length, 1)
  await closed.close()
  t.is(getEventListeners(signal, 'abort').length, 0)
  t.deepEqual(started, [])
})

function aborter(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}
