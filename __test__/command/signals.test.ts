import { readdirSync, readFileSync } from 'node:fs'
import test from 'ava'
import { linuxSerial } from '../helpers/conditional-test.js'
import { fixture } from '../helpers/fixture.js'
import { hello } from '../helpers/hello.js'
import { isRunning } from '../helpers/processes.js'
import { type Running, Terminal } from '../helpers/terminal.js'
import { until } from '../helpers/until.js'

function startHello(terminal: Terminal, ...args: string[]): Running {
  return terminal.start(['run', '--bind', '127.0.0.1:0', ...args, fixture('hello-app')])
}

test.serial('SIGHUP reloads', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '1')
  const port = await app.port()
  const before = await hello(port)
  app.process.kill('SIGHUP')
  await app.says(/: reloaded/)
  t.not((await hello(port)).pid, before.pid)
})

test.serial('SIGTTIN adds a worker, and SIGTTOU removes a worker, except the last', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '1')
  await app.port()
  app.process.kill('SIGTTIN')
  await app.says(/: 2 workers\n/)
  app.process.kill('SIGTTOU')
  await app.says(/: 1 worker\n/)
  app.process.kill('SIGTTOU')
  await app.says(/at least 1 worker has to stay/)
  t.is((await terminal.status()).workers.length, 1)
})

test.serial('SIGUSR2 has no effect', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '1')
  const port = await app.port()
  app.process.kill('SIGUSR2')
  t.is(typeof (await hello(port)).pid, 'number')
  t.is((await terminal.status()).pid, app.pid)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test.serial(`${signal} drains and ends with 0`, async (t) => {
    const terminal = new Terminal(t)
    const app = startHello(terminal, '-w', '2')
    await app.port()
    const { workers } = await terminal.status()
    app.process.kill(signal)
    t.is((await app.ended()).code, 0)
    await until(() => !workers.some(({ pid }) => isRunning(pid ?? 0)))
  })
}

test.serial('SIGTERM during the start ends the app before it has started', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write('app.js', 'setInterval(() => {}, 1000)')
  const app = terminal.start(['run', '-w', '1', path])
  await until(async () => (await terminal.type('status')).stdout.includes(' starting '))
  app.process.kill('SIGTERM')
  t.deepEqual(await app.ended(), { code: 0, stdout: '', stderr: '' })
})

linuxSerial('each worker has a separate process group, so Ctrl-C reaches only the parent', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '2')
  await app.port()
  const { workers } = await terminal.status()
  const group = (pid: number): string | undefined =>
    / \S (\d+) (\d+) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[2]
  for (const { pid } of workers) t.is(group(pid ?? 0), String(pid))
  t.not(group(app.pid), String(workers[0]?.pid))
})

linuxSerial('closing the terminal ends the app, as SIGTERM does', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.startInTty(['run', '-w', '2', '--bind', '127.0.0.1:0', fixture('hello-app')])
  await until(() => / listens on /.test(app.stdout))
  const { pid, workers } = await terminal.status()
  app.process.kill('SIGKILL')
  await until(() => ![pid, ...workers.map((worker) => worker.pid ?? 0)].some(isRunning))
  t.deepEqual(readdirSync(terminal.controls), [])
})

linuxSerial('SIGHUP in a terminal that is open reloads', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.startInTty(['run', '-w', '1', '--bind', '127.0.0.1:0', fixture('hello-app')])
  await until(() => / listens on /.test(app.stdout))
  process.kill((await terminal.status()).pid, 'SIGHUP')
  await until(() => app.stdout.includes('socketserver: reloaded'))
  t.is((await terminal.status()).workers[0]?.generation, 2)
})

linuxSerial('no worker outlives a parent that was killed', async (t) => {
  const terminal = new Terminal(t)
  const app = startHello(terminal, '-w', '2')
  await app.port()
  const { workers } = await terminal.status()
  app.process.kill('SIGKILL')
  await until(() => !workers.some(({ pid }) => isRunning(pid ?? 0)))
  t.pass()
})
