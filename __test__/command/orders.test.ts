import { lstatSync, readdirSync } from 'node:fs'
import { createConnection } from 'node:net'
import test from 'ava'
import { linuxSerial } from '../helpers/conditional-test.js'
import { fixture } from '../helpers/fixture.js'
import { hello } from '../helpers/hello.js'
import { fetchOnce } from '../helpers/http.js'
import { isRunning } from '../helpers/processes.js'
import { stop } from '../helpers/stop.js'
import { type Running, Terminal } from '../helpers/terminal.js'
import { until } from '../helpers/until.js'

function startHello(terminal: Terminal, ...args: string[]): Running {
  return terminal.start(['run', '--bind', '127.0.0.1:0', ...args, fixture('hello-app')])
}

test.serial('status --json has the documented shape', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '2', '--name', 'shop')
  const port = await app.port()
  const status = await terminal.status()
  t.deepEqual(Object.keys(status), ['name', 'pid', 'startedAt', 'listeners', 'workers', 'stats'])
  t.is(status.name, 'shop')
  t.is(status.pid, app.pid)
  t.deepEqual(status.listeners, [{ address: '127.0.0.1', family: 'IPv4', port }])
  t.deepEqual(
    status.workers.map(({ slot, state, generation }) => ({ slot, state, generation })),
    [
      { slot: 0, state: 'ready', generation: 1 },
      { slot: 1, state: 'ready', generation: 1 },
    ],
  )
  t.deepEqual(Object.keys(status.workers[0] ?? {}), [
    ...['slot', 'id', 'pid', 'generation', 'state', 'since', 'leases', 'handled', 'restarts'],
    ...['eventLoopUtilization', 'memory'],
  ])
  t.true(Date.parse(status.startedAt) <= Date.now())
  t.true((status.workers[0]?.memory ?? 0) > 2 ** 20)
  t.is(status.stats.accepted, 0)
})

/** An app whose event loop is busy from the first request until a file exists, at most 40 s. */
const BUSY_APP = `
  const { existsSync } = require('node:fs')
  require('node:http').createServer((_request, response) => {
    response.end('busy', () => {
      const end = Date.now() + 40_000
      while (!existsSync('enough') && Date.now() < end);
    })
  }).listen(process.env.PORT)`

for (const [what, run, options] of [
  ['processes', linuxSerial, []],
  ['threads', test.serial, ['--threads']],
] as const) {
  run(`status has the event-loop utilisation of ${what}, also while the event loop is blocked`, async (t) => {
    const terminal = new Terminal(t)
    const app = terminal.start([
      'run',
      '-w',
      '2',
      ...options,
      '--bind',
      '127.0.0.1:0',
      terminal.write('app.js', BUSY_APP),
    ])
    const port = await app.port()
    const shares = async (): Promise<number[]> =>
      (await terminal.status()).workers.map(({ eventLoopUtilization }) => eventLoopUtilization ?? Number.NaN)
    await until(async () => (await shares()).every((share) => share < 0.5))
    await fetchOnce(port)
    await until(async () => (await shares()).filter((share) => share > 0.9).length === 1)
    t.regex((await terminal.type('status')).stdout, /\n +[01] +ready .* (9\d|100)% /)
    terminal.write('enough', '')
    await until(async () => (await shares()).every((share) => share < 0.5))
    t.is((await terminal.type('stop')).code, 0)
  })
}

test.serial('status without --json prints a table', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '2')
  await app.port()
  const { code, stdout } = await terminal.type('status', 'hello-app')
  t.is(code, 0)
  t.regex(stdout, /^hello-app \(pid \d+\), up \d+s, listens on 127\.0\.0\.1:\d+\n\nslot +state +pid /)
  t.regex(stdout, /\n +0 +ready +\d+ +1 .* MB\n +1 +ready +\d+ +1 .* MB\n\nqueue 0 /)
})

test.serial('only its user can open the control socket, and the socket is removed with the app', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '1')
  await app.port()
  t.is(lstatSync(terminal.controls).mode & 0o777, 0o700)
  t.is(lstatSync(`${terminal.controls}/hello-app.sock`).mode & 0o777, 0o600)
  app.process.kill('SIGTERM')
  t.is((await app.ended()).code, 0)
  t.deepEqual(readdirSync(terminal.controls), [])
})

test.serial('reload returns when it has replaced every worker', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '2')
  const port = await app.port()
  const before = await terminal.status()
  const { code, stdout } = await terminal.type('reload', 'hello-app')
  t.is(stdout, 'hello-app: reloaded 2 workers, generation 2\n')
  t.is(code, 0)
  const after = await terminal.status()
  t.deepEqual(
    after.workers.map(({ generation }) => generation),
    [2, 2],
  )
  t.false(before.workers.some(({ pid }) => after.workers.some((worker) => worker.pid === pid)))
  t.is(typeof (await hello(port)).pid, 'number')
})

test.serial('a failed reload prints the last lines of the new worker, and the old workers continue', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write('app.js', `require(${JSON.stringify(fixture('hello-app'))})`)
  const app = terminal.start(['run', '-w', '2', '--bind', '127.0.0.1:0', path])
  const port = await app.port()
  const before = await terminal.status()
  terminal.write('app.js', "console.error('no such release'); process.exit(3)")
  const { code, stderr } = await terminal.type('reload')
  t.is(code, 1)
  t.regex(
    stderr,
    /reload failed.*the worker in slot [01] exited with code 3 before it was ready\n.*\n {2}\| no such release\n$/,
  )
  const after = await terminal.status()
  t.deepEqual(
    after.workers.filter(({ state }) => state === 'ready').map(({ pid }) => pid),
    before.workers.map(({ pid }) => pid),
  )
  t.is(typeof (await hello(port)).pid, 'number')
})

test.serial('scale takes a number of workers, more, or fewer', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '1')
  await app.port()
  const sizes = async (): Promise<number> => (await terminal.status()).workers.length
  t.is((await terminal.type('scale', '3')).stdout, 'hello-app: 3 workers\n')
  t.is(await sizes(), 3)
  t.is((await terminal.type('scale', '-1', 'hello-app')).stdout, 'hello-app: 2 workers\n')
  t.is(await sizes(), 2)
  t.is((await terminal.type('scale', '+1')).stdout, 'hello-app: 3 workers\n')
  t.is(await sizes(), 3)
  const refused = await terminal.type('scale', '-3')
  t.is(refused.code, 2)
  t.regex(refused.stderr, /at least 1 worker has to stay; there are 3/)
})

test.serial('a failed scale does not change the workers', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write('app.js', `require(${JSON.stringify(fixture('hello-app'))})`)
  const app = terminal.start(['run', '-w', '1', '--bind', '127.0.0.1:0', path])
  await app.port()
  terminal.write('app.js', "console.error('no such release'); process.exit(3)")
  const { code, stderr } = await terminal.type('scale', '+1')
  t.is(code, 1)
  t.regex(stderr, /stays 1: the worker in slot 1 exited with code 3(.|\n)*no such release/)
  t.is((await terminal.status()).workers.length, 1)
})

test.serial('stop returns when the app has ended', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '2')
  await app.port()
  const { workers } = await terminal.status()
  const { code, stdout } = await terminal.type('stop')
  t.is(stdout, 'hello-app: stopped\n')
  t.is(code, 0)
  t.false(workers.some(({ pid }) => isRunning(pid ?? 0)))
  t.is((await app.ended()).code, 0)
  t.deepEqual(readdirSync(terminal.controls), [])
})

linuxSerial('commands answer while the event loop of every worker is blocked', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '2')
  await app.port()
  const { workers } = await terminal.status()
  for (const { pid } of workers) await stop(t, pid ?? 0)
  t.is((await terminal.status()).workers.length, 2)
})

test.serial('status lists several apps, and other commands need a name', async (t) => {
  const terminal = new Terminal(t)
  const first = startHello(terminal, '-w', '1', '--name', 'first')
  const second = startHello(terminal, '-w', '1', '--name', 'second')
  await Promise.all([first.port(), second.port()])
  t.regex((await terminal.type('status')).stdout, /^name +pid .*\nfirst .*\nsecond /)
  const reload = await terminal.type('reload')
  t.is(reload.code, 2)
  t.regex(reload.stderr, /several apps are running: first, second\. Say which: socketserver reload first/)
  const other = await terminal.type('stop', 'third')
  t.is(other.code, 3)
  t.regex(other.stderr, /no app named 'third' is running; running: first, second/)
  t.is((await terminal.type('stop', 'first')).code, 0)
  t.is((await terminal.type('stop')).stdout, 'second: stopped\n')
  const none = await terminal.type('status')
  t.is(none.code, 3)
  t.regex(none.stderr, /no app is running/)
})

test.serial('an app whose parent was killed is not running, and its name is free', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '1')
  await app.port()
  const { workers } = await terminal.status()
  app.process.kill('SIGKILL')
  await app.ended()
  t.deepEqual(readdirSync(terminal.controls), ['hello-app.sock'])
  t.is((await terminal.type('status')).code, 3)
  const next = startHello(terminal, '-w', '1')
  await next.port()
  t.is((await terminal.status()).pid, next.pid)
  await until(() => !workers.some(({ pid }) => isRunning(pid ?? 0)))
})

test.serial('the control socket refuses an unknown request', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '1')
  await app.port()
  const socket = createConnection(`${terminal.controls}/hello-app.sock`).setEncoding('utf8')
  socket.end('GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  let answer = ''
  for await (const text of socket) answer += text
  t.regex(answer, /^HTTP\/1\.1 500.*there is no GET \/nothing/s)
  t.is((await terminal.status()).pid, app.pid)
})
