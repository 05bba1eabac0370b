import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { fixture } from '../helpers/fixture.js'
import { hello } from '../helpers/hello.js'
import { Terminal } from '../helpers/terminal.js'
import { until } from '../helpers/until.js'

const APP = `require(${JSON.stringify(fixture('hello-app'))})`

test.serial('--watch reloads when a file changes, also in a new folder, and once after many changes', async (t) => {
  const terminal = new Terminal(t)
  terminal.write('app/server.js', APP)
  const app = terminal.start(['run', '-w', '1', '--watch', '--cwd', 'app', '--bind', '127.0.0.1:0', 'server.js'])
  const port = await app.port()
  const first = await hello(port)
  for (let i = 0; i < 5; i++) terminal.write(`app/lib/part-${i}.js`, '')
  await app.says(/: .* has changed: reloads\nsocketserver: reloaded\n/)
  const second = await hello(port)
  t.not(second.pid, first.pid)
  t.is((await terminal.status()).workers[0]?.generation, 2)
  terminal.write('app/lib/part-0.js', '// changed')
  await app.says(/lib\/part-0\.js has changed: reloads\nsocketserver: reloaded\n/)
  t.not((await hello(port)).pid, second.pid)
})

test.serial('the old workers continue if the changed app does not start', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write('app/server.js', APP)
  const app = terminal.start(['run', '-w', '1', '--watch=app/server.js', '--bind', '127.0.0.1:0', path])
  const port = await app.port()
  const { pid } = await hello(port)
  terminal.write('app/server.js', 'this is no program')
  await app.says(
    /the reload failed, and the old workers continue: the worker in slot 0 exited with code 1(.|\n)*SyntaxError/,
  )
  t.is((await hello(port)).pid, pid)
  terminal.write('app/server.js', APP)
  await app.says(/: reloaded\n/)
  t.not((await hello(port)).pid, pid)
})

test.serial('packages, hidden files, logs and other folders are not watched', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write('src/server.js', APP)
  terminal.write('src/node_modules/x/index.js', '')
  terminal.write('src/.cache/x', '')
  const app = terminal.start(['run', '-w', '1', '--watch=src', '--bind', '127.0.0.1:0', path])
  const port = await app.port()
  const { pid } = await hello(port)
  for (const file of ['node_modules/x/index.js', '.cache/x', '.env', 'debug.log']) terminal.write(`src/${file}`, 'x')
  terminal.write('elsewhere.js', '')
  // Longer than the quiet time, so that each relevant change would be reported before the next change.
  await delay(500)
  terminal.write('src/last.js', '')
  await app.says(/src\/last\.js has changed: reloads\nsocketserver: reloaded\n/)
  t.is([...app.stderr.matchAll(/has changed/g)].length, 1)
  await until(async () => (await hello(port)).pid !== pid)
})

test.serial('a path to watch that is missing is a mistake', async (t) => {
  const { code, stderr } = await new Terminal(t).type('run', '--watch=nowhere', fixture('hello-app'))
  t.is(code, 2)
  t.regex(stderr, /--watch: there is no nowhere in /)
})

test.serial('without --keep-trying, a failed first start ends the command although files are watched', async (t) => {
  const terminal = new Terminal(t)
  terminal.write('app/server.js', 'this is no program')
  const { code, stderr } = await terminal.type('run', '-w', '1', '--watch', '--cwd', 'app', 'server.js')
  t.is(code, 1)
  t.regex(stderr, /server\.js could not be started: the worker in slot 0 exited with code 1/)
})

test.serial('with --keep-trying, a change after a failed first start starts the app', async (t) => {
  const terminal = new Terminal(t)
  // After a failure, the pool itself starts the app again only after an hour.
  terminal.write(
    'app/socketserver.config.json',
    JSON.stringify({ app: 'server.js', restart: { minDelay: 3_600_000, maxDelay: 3_600_000 } }),
  )
  terminal.write('app/server.js', 'this is no program')
  const run = ['run', 'app/socketserver.config.json', '-w', '1', '--watch', '--keep-trying', '--bind', '127.0.0.1:0']
  const app = terminal.start(run)
  await app.says(/the worker in slot 0 exited with code 1/)
  terminal.write('app/server.js', APP)
  t.is(typeof (await hello(await app.port())).pid, 'number')
  t.regex(app.stderr, /server\.js has changed: reloads\n/)
})

test.serial('a change during a reload starts the latest version, and nothing overlaps', async (t) => {
  const terminal = new Terminal(t)
  terminal.write('app/server.js', APP)
  const app = terminal.start(['run', '-w', '1', '--watch', '--cwd', 'app', '--bind', '127.0.0.1:0', 'server.js', '1'])
  const port = await app.port()
  // The second version is not ready until a file outside of the watched folder exists.
  terminal.write(
    'app/server.js',
    `const wait = () => require('node:fs').existsSync('../go') ? ${APP} : setTimeout(wait, 10)
     console.error('second version')
     process.argv.push('2')
     wait()`,
  )
  await app.says(/second version\n/)
  terminal.write('app/server.js', `process.argv.push('3'); ${APP}`)
  await app.says(/(has changed: reloads(.|\n)*){2}/)
  t.deepEqual((await hello(port)).args, ['1'])
  terminal.write('go', '')
  await app.says(/(: reloaded\n(.|\n)*){2}/)
  t.deepEqual((await hello(port)).args, ['1', '3'])
  const { workers } = await terminal.status()
  t.deepEqual(
    workers.map(({ state, generation }) => ({ state, generation })),
    [{ state: 'ready', generation: 3 }],
  )
})
