// The options that limit workers, queues and times.

import test from 'ava'
import { linuxSerial } from '../helpers/conditional-test.js'
import { fixture } from '../helpers/fixture.js'
import { hello } from '../helpers/hello.js'
import { fetchOnce } from '../helpers/http.js'
import { isRunning } from '../helpers/processes.js'
import { Terminal } from '../helpers/terminal.js'
import { until } from '../helpers/until.js'

const RUN = ['run', '-w', '1', '--bind', '127.0.0.1:0']

test.serial('--max-connections replaces a worker, and no request is lost', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start([...RUN, '--max-connections', '10', fixture('hello-app')])
  const port = await app.port()
  const { pid } = await hello(port)
  await until(async () => (await hello(port)).pid !== pid)
  t.is((await terminal.status()).workers.at(-1)?.restarts, 0)
})

test.serial('--max-memory replaces a worker that has grown', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write(
    'app.js',
    `const kept = []
     require('node:http').createServer((request, response) => {
       if (request.url === '/grow') kept.push(Buffer.alloc(400 * 2 ** 20, 1))
       response.end(String(process.pid))
     }).listen(process.env.PORT)`,
  )
  const app = terminal.start([...RUN, '--max-memory', '300M', path])
  const port = await app.port()
  const { body } = await fetchOnce(port, { path: '/grow' })
  await until(async () => (await fetchOnce(port)).body !== body)
  t.pass()
})

linuxSerial('--kill-timeout ends a worker that ignores SIGTERM', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write(
    'app.js',
    `process.on('SIGTERM', () => console.log('asked to end'))
     setInterval(() => {}, 1000)
     require(${JSON.stringify(fixture('hello-app'))})`,
  )
  const app = terminal.start([...RUN, '--kill-timeout', '2000', path])
  const { pid } = await hello(await app.port())
  t.is((await terminal.type('stop')).code, 0)
  t.false(isRunning(pid))
  t.regex((await app.ended()).stdout, /asked to end/)
})

test.serial('--drain-timeout ends a connection that does not finish', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write('app.js', "require('node:http').createServer(() => {}).listen(process.env.PORT)")
  const app = terminal.start([...RUN, '--drain-timeout', '300', path])
  const port = await app.port()
  const answer = t.throwsAsync(fetchOnce(port), { code: 'ECONNRESET' })
  await until(async () => (await terminal.status()).workers[0]?.leases === 1)
  t.is((await terminal.type('reload')).code, 0)
  await answer
})

test.serial('stop prints the number of connections that did not finish, and both commands exit with 1', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write('app.js', "require('node:http').createServer(() => {}).listen(process.env.PORT)")
  const app = terminal.start([...RUN, path])
  const answer = t.throwsAsync(fetchOnce(await app.port()), { code: 'ECONNRESET' })
  await until(async () => (await terminal.status()).workers[0]?.leases === 1)
  const { code, stderr } = await terminal.type('stop')
  t.is(code, 1)
  t.is(stderr, 'socketserver: app: stopped, and 1 connection did not finish in time\n')
  t.is((await app.ended()).code, 1)
  await answer
})

test.serial('WEB_CONCURRENCY must be a number of workers', async (t) => {
  const { code, stderr } = await new Terminal(t).start(['run', 'app.js'], { WEB_CONCURRENCY: 'many' }).ended()
  t.is(code, 2)
  t.regex(stderr, /WEB_CONCURRENCY must be a whole number .* not 'many'/)
})
