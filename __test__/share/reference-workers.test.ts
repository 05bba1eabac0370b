// The workers of examples/workers: programs in several languages serve one port together.

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Server } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { ask, call } from '../helpers/caller.js'
import { linuxSerial } from '../helpers/conditional-test.js'
import { frame } from '../helpers/frames.js'
import { run } from '../helpers/program.js'
import { buildWorkers, type Command, type Language, ReferenceWorker } from '../helpers/reference-workers.js'
import { listen, startServer } from '../helpers/served.js'
import { SteadyLoad } from '../helpers/steady-load.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

const LANGUAGES: readonly Language[] = ['node', 'python', 'c', 'go', 'rust']

let commands: Map<Language, Command> = new Map()

test.before(async (t) => {
  // Compiling everything while other tests run takes minutes.
  t.timeout(600_000)
  commands = await buildWorkers()
})

function start(t: ExecutionContext, language: Language, path: string): ReferenceWorker {
  const command = commands.get(language)
  if (command === undefined) throw new Error(`No worker was built for ${language}`)
  return new ReferenceWorker(t, language, command, path)
}

/** Returns whether the compiler or interpreter of this language is missing. */
function isMissing(t: ExecutionContext, language: Language): boolean {
  if (commands.has(language)) return false
  t.pass()
  t.log(`${language} is not installed.`)
  return true
}

/** Starts a server and one worker in each language, and waits until all have joined. */
async function serverWithWorkers(
  t: ExecutionContext,
): Promise<{ server: Server; port: number; path: string; workers: Map<Language, ReferenceWorker> }> {
  const path = join(temporaryDirectory(t), 'ctl')
  const server = startServer(t)
  const port = await listen(server)
  const share = await server.share(path)
  const workers = new Map(Array.from(commands.keys(), (language) => [language, start(t, language, path)]))
  await until(() => share.workers.length === workers.size)
  return { server, port, path, workers }
}

test.serial(
  'workers in five languages serve one port, and a killed worker loses only the connections that it held',
  async (t) => {
    t.timeout(180_000)
    const { server, port, path, workers } = await serverWithWorkers(t)
    let held = 0
    server.on('cut', (_worker, { connections }) => {
      held += connections
    })
    const load = new SteadyLoad(port, 8)
    const answers = (worker: ReferenceWorker): Promise<void> => until(() => load.count(worker.name) >= 3)
    for (const worker of workers.values()) await answers(worker)
    for (const [language, worker] of workers) {
      // Stopped first, so that connections that it has not taken are in flight to it when it dies.
      worker.process.kill('SIGSTOP')
      const before = load.count()
      await until(() => load.count() >= before + 30)
      worker.process.kill('SIGKILL')
      t.is(await worker.exit(), 'SIGKILL')
      await answers(start(t, language, path))
    }
    await load.stop()
    t.deepEqual(load.wrong, [])
    t.true(load.lost.length <= held, `${load.lost.length} lost (${load.lost.join(', ')}), ${held} held`)
    t.true(server.stats().requeued > 0)
  },
)

test.serial('a worker that gets SIGTERM finishes its connections and exits, and none is lost', async (t) => {
  t.timeout(120_000)
  const { server, port, workers, path } = await serverWithWorkers(t)
  server.on('cut', (worker, info) => t.fail(`${worker.pid} was cut: ${JSON.stringify(info)}`))
  const load = new SteadyLoad(port, 8)
  // This worker runs throughout.
  const last = start(t, 'node', path)
  await until(() => load.count(last.name) >= 3)
  for (const worker of workers.values()) {
    await until(() => load.count(worker.name) >= 3)
    worker.process.kill('SIGTERM')
    t.is(await worker.exit(), 0, `${worker.name}: ${worker.errors}`)
  }
  await load.stop()
  t.deepEqual([load.wrong, load.lost], [[], []])
  await until(() => server.stats().leases === 0)
})

test.serial('workers in every language exit when the server closes', async (t) => {
  const { server, workers } = await serverWithWorkers(t)
  await server.close()
  // The Node worker would wait for the next server.
  workers.get('node')?.process.kill('SIGTERM')
  for (const worker of workers.values()) t.is(await worker.exit(), 0, `${worker.name}: ${worker.errors}`)
})

for (const language of LANGUAGES) {
  test.serial(
    `${language}: acks before it reads, finishes its connection at SIGTERM, and loses only its connections when killed`,
    async (t) => {
      if (isMissing(t, language)) return
      const path = join(temporaryDirectory(t), 'ctl')
      const server = startServer(t)
      const port = await listen(server)
      await server.share(path)
      const first = start(t, language, path)
      const silent = call(t, port)
      await until(() => server.stats().leases === 1)
      first.process.kill('SIGTERM')
      // The first worker may still take this connection or leave it to the next worker.
      const beside = ask(port, 'beside\n')
      silent.send('at last\n')
      t.is(await silent.answer(), `${first.name} at last\n`)
      t.is(await first.exit(), 0, first.errors)
      const next = start(t, language, path)
      t.true([`${first.name} beside\n`, `${next.name} beside\n`].includes(await beside))
      t.is(server.stats().cut, 0)
      await until(() => server.stats().leases === 0)
      const held = call(t, port)
      await until(() => server.stats().leases === 1)
      next.process.kill('SIGKILL')
      t.is(await held.answer().catch(() => ''), '')
      await until(() => server.stats().cut === 1)
    },
  )
}

// Without the Node worker: it uses connect(), which has its own tests and reconnects.
const OTHERS = LANGUAGES.filter((language) => language !== 'node')

/**
 * Sends bytes to a worker, one at a time, and returns how the worker exits. Ends the stream afterwards, unless the worker is to
 * exit first.
 */
async function sendBytes(
  t: ExecutionContext,
  language: Language,
  words: Buffer,
  { ends = true } = {},
): Promise<{ code: unknown; errors: string; said: Buffer }> {
  const path = join(temporaryDirectory(t), 'ctl')
  const server = createServer().listen(path)
  t.teardown(() => server.close())
  await once(server, 'listening')
  const worker = start(t, language, path)
  const [socket] = await within(once(server, 'connection'), `${language} to connect`)
  let said = Buffer.alloc(0)
  socket.on('error', () => {})
  socket.on('data', (bytes: Buffer) => {
    said = Buffer.concat([said, bytes])
  })
  // HELLO and the first credit.
  await until(() => said.length >= 24)
  for (const byte of words) {
    socket.write(Buffer.of(byte))
    // One turn of the event loop per byte, so that most bytes arrive alone.
    await new Promise((resolve) => setImmediate(resolve))
  }
  if (ends) socket.end()
  const code = await worker.exit()
  return { code, errors: worker.errors, said }
}

const WELCOME = frame(0x81, 1, Buffer.concat([Buffer.from('SSRV'), Buffer.of(1, 0, 0, 0, 1, 0, 0, 0)]))
const RECALL = frame(0x83, 1, Buffer.of(7, 0, 0, 0, 0, 0, 0, 0))
const CANCELLED = frame(0x84, 1, Buffer.alloc(8))
const DRAIN = frame(0x85, 0)
const RETIRE = frame(0x86, 0)
const FULL = frame(0x87, 1, Buffer.of(6, 0, 0, 0, 9, 0, 0, 0))
const UNKNOWN = frame(0x99, 1, Buffer.alloc(8))
const MISCOUNTED = frame(0x83, 2, Buffer.alloc(8))
const FROM_WORKER = frame(0x07, 0)

for (const language of OTHERS) {
  test.serial(`${language}: finishes a connection even if the server is killed`, async (t) => {
    if (isMissing(t, language)) return
    const path = join(temporaryDirectory(t), 'ctl')
    const parent = run(t, 'share-path', { args: [path] })
    const port = Number(await parent.line())
    const worker = start(t, language, path)
    t.is(await parent.line(), `worker ${worker.pid}`)
    const held = call(t, port).send('two')
    await until(() => {
      parent.process.kill('SIGUSR2')
      return parent.lines.includes('leases 1')
    })
    parent.process.kill('SIGKILL')
    await parent.exit()
    held.send(' three\n')
    t.is(await held.answer(), `${worker.name} two three\n`)
    t.is(await worker.exit(), 1)
    t.regex(worker.errors, /died|Gone/)
  })

  test.serial(`${language}: accepts frames byte by byte and exits when it is retired`, async (t) => {
    if (isMissing(t, language)) return
    const words = Buffer.concat([WELCOME, CANCELLED, RECALL, DRAIN, RETIRE])
    const { code, errors, said } = await sendBytes(t, language, words, { ends: false })
    t.is(code, 0, errors)
    t.deepEqual(said.subarray(0, 8), frame(1, 1, Buffer.alloc(16)).subarray(0, 8))
    t.is(said.subarray(8, 12).toString(), 'SSRV')
  })

  test.serial(
    `${language}: exits with a message at a refusal, at the death of the server and at a protocol violation`,
    async (t) => {
      if (isMissing(t, language)) return
      for (const words of [FULL, WELCOME, WELCOME.subarray(0, 9), UNKNOWN, MISCOUNTED, FROM_WORKER]) {
        const { code, errors } = await sendBytes(t, language, words)
        t.is(code, 1, words.toString('hex'))
        t.regex(errors, words === FULL ? /6.*9|Full\(9\)/ : /\S/)
        t.notRegex(errors, /Traceback|panic|goroutine/)
      }
    },
  )

  linuxSerial(
    `${language}: refuses a connection at its limit of open files, and the client is answered later`,
    async (t) => {
      if (isMissing(t, language)) return
      const path = join(temporaryDirectory(t), 'ctl')
      const server = startServer(t)
      server.on('error', () => {})
      const port = await listen(server)
      await server.share(path)
      const worker = start(t, language, path)
      t.is(await ask(port, 'first\n'), `${worker.name} first\n`)
      const limitTo = (count: number): void => {
        execFileSync('prlimit', ['--pid', String(worker.pid), `--nofile=${count}:4096`])
      }
      // Only the numbers of stdin, stdout and stderr remain, and all three are in use. The lowest free number would be too
      // high while the worker has another file open: malloc(3) of a new thread reads /sys/devices/system/cpu/online.
      limitTo(3)
      const answer = ask(port, 'second\n')
      await until(() => server.stats().requeued >= 2)
      limitTo(1024)
      t.is(await answer, `${worker.name} second\n`)
    },
  )
}
