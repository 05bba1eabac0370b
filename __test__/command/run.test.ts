import { existsSync, linkSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { fixture } from '../helpers/fixture.js'
import { hello } from '../helpers/hello.js'
import { fetchOnce } from '../helpers/http.js'
import { Terminal } from '../helpers/terminal.js'
import { until } from '../helpers/until.js'

const BIND = ['--bind', '127.0.0.1:0']

test.serial('an app runs on several workers, with its arguments, folder, Node options and PORT', async (t) => {
  const terminal = new Terminal(t)
  terminal.write('app folder/x', '')
  const app = terminal.start([
    ...['run', '-w', '2', '--cwd', 'app folder', '--node-arg', '--no-deprecation', '-p', '0'],
    ...[fixture('hello-app'), '-x', 'one two', '--workers', '9'],
  ])
  const port = await app.port()
  const answer = await hello(port)
  t.deepEqual(answer.args, ['-x', 'one two', '--workers', '9'])
  t.is(answer.cwd, join(terminal.folder, 'app folder'))
  t.true(answer.execArgv.includes('--no-deprecation'))
  t.is(answer.env['PORT'], '0')
  t.regex(app.stderr, /--workers is an argument of .*hello-app/)
  t.is((await terminal.status()).workers.length, 2)
  app.process.kill('SIGTERM')
  t.is((await app.ended()).code, 0)
})

test.serial('the first --bind is the PORT of the app, and the default name is the file name', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '-w', '2', ...BIND, fixture('hello-app')])
  const port = await app.port()
  t.is((await hello(port)).env['PORT'], `${port}`)
  t.deepEqual((await terminal.status('hello-app')).listeners, [{ address: '127.0.0.1', family: 'IPv4', port }])
})

test.serial('the app listens on the Unix socket of the first --bind', async (t) => {
  const terminal = new Terminal(t)
  const path = join(terminal.folder, 'app.sock')
  const app = terminal.start(['run', '-w', '2', '--bind', `unix:${path}`, fixture('hello-app')])
  await app.says(/listens on/)
  t.deepEqual((await terminal.status('hello-app')).listeners, [{ path }])
  t.is(JSON.parse((await fetchOnce(0, { socketPath: path })).body).env.PORT, path)
})

test.serial('a relative path of --bind belongs to the folder of the command, not of the app', async (t) => {
  const terminal = new Terminal(t)
  terminal.write('app folder/x', '')
  const path = join(terminal.folder, 'app.sock')
  const run = ['run', '-w', '1', '--cwd', 'app folder', '--bind', 'unix:app.sock']
  await terminal.start([...run, fixture('hello-app')]).says(/listens on/)
  t.deepEqual((await terminal.status()).listeners, [{ path }])
})

test.serial('with --threads the app runs in threads of the parent', async (t) => {
  const terminal = new Terminal(t)
  terminal.write('app folder/x', '')
  const app = terminal.start(['run', '-w', '2', '--threads', '--cwd', 'app folder', fixture('hello-app'), 'one'])
  const answer = await hello(await app.port())
  t.is(answer.pid, app.pid)
  t.is(answer.cwd, join(terminal.folder, 'app folder'))
  t.deepEqual(answer.args, ['one'])
  app.process.kill('SIGTERM')
  t.is((await app.ended()).code, 0)
})

test.serial('--ready message waits for the message, and --ready start does not wait', async (t) => {
  const terminal = new Terminal(t)
  const late = terminal.write(
    'late.js',
    `require(${JSON.stringify(fixture('hello-app'))})
     process.send('hello')
     if (process.argv[2] === 'send') process.send('ready')`,
  )
  const silent = await terminal.type('run', '-w', '1', '--ready', 'message', '--ready-timeout', '2000', late)
  t.is(silent.code, 1)
  t.regex(silent.stderr, /sent the message 'ready'/)
  const sends = terminal.start(['run', '-w', '1', '--ready', 'message', late, 'send'])
  t.is(typeof (await hello(await sends.port())).pid, 'number')
  const never = terminal.write('never.js', 'setInterval(() => {}, 1000)')
  const started = terminal.start(['run', '-w', '1', '--ready', 'start', never])
  await started.says(/has 1 worker and listens on nowhere/)
})

test.serial('an app that never listens cannot be started', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write('never.js', 'setInterval(() => {}, 1000)')
  const { code, stderr } = await terminal.type('run', '-w', '1', '--ready-timeout', '1500', path)
  t.is(code, 1)
  t.regex(stderr, /never\.js could not be started: .*listen/)
})

test.serial('an app cannot be started if another program uses its port', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '-w', '1', '-p', '0', fixture('hello-app')])
  const port = await app.port()
  const run = ['run', '--name', 'second', '-w', '1', '-p', `${port}`, fixture('hello-app')]
  // With colours, Node writes codes between the words of an error.
  const { code, stderr } = await terminal.start(run, { FORCE_COLOR: '1' }).ended()
  t.is(code, 1)
  t.regex(
    stderr,
    new RegExp(`could not be started: .* exited with code 1 .*\nport ${port} is in use by another program\n`),
  )
})

test.serial('WEB_CONCURRENCY is the number of workers unless the command line has one', async (t) => {
  const terminal = new Terminal(t)
  const first = terminal.start(['run', ...BIND, '--name', 'first', fixture('hello-app')], { WEB_CONCURRENCY: '1' })
  const second = terminal.start(['run', '-w', 'max', ...BIND, '--name', 'second', fixture('hello-app')], {
    WEB_CONCURRENCY: '1',
  })
  await Promise.all([first.port(), second.port()])
  t.is((await terminal.status('first')).workers.length, 1)
  t.is((await terminal.status('second')).workers.length, availableParallelism())
})

test.serial('the pid file replaces an older file by rename, and is removed at the exit', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write('app.pid', '4711\n')
  // Another name of the older file: it changes if the parent writes into the file, and a reader could see a partial id.
  const older = join(terminal.folder, 'older')
  linkSync(path, older)
  const app = terminal.start(['run', '-w', '1', ...BIND, '--pid-file', 'app.pid', fixture('hello-app')])
  await app.port()
  t.is(readFileSync(path, 'utf8'), `${app.pid}\n`)
  t.is(readFileSync(older, 'utf8'), '4711\n')
  app.process.kill('SIGTERM')
  t.is((await app.ended()).code, 0)
  t.deepEqual(
    readdirSync(terminal.folder).filter((name) => name.startsWith('app.pid')),
    [],
  )
})

test.serial('the pid file is removed if the app cannot be started', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write('broken.js', 'process.exit(7)')
  t.is((await terminal.type('run', '-w', '1', '--pid-file', 'app.pid', path)).code, 1)
  t.false(existsSync(join(terminal.folder, 'app.pid')))
})

test.serial('a pid file that another process has replaced stays', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '-w', '1', ...BIND, '--pid-file', 'app.pid', fixture('hello-app')])
  await app.port()
  const path = terminal.write('app.pid', '4711\n')
  app.process.kill('SIGTERM')
  t.is((await app.ended()).code, 0)
  t.is(readFileSync(path, 'utf8'), '4711\n')
})

test.serial(
  'an env file adds variables that the environment does not have, and is read again at a reload',
  async (t) => {
    const terminal = new Terminal(t)
    terminal.write('.env', 'COLOUR=red\nHOME=/nowhere\n')
    const app = terminal.start(['run', '-w', '1', ...BIND, '--env-file', '.env', fixture('hello-app')])
    const port = await app.port()
    const { env } = await hello(port)
    t.is(env['COLOUR'], 'red')
    t.is(env['HOME'], process.env['HOME'])
    terminal.write('.env', 'COLOUR=blue\n')
    t.is((await terminal.type('reload')).code, 0)
    t.is((await hello(port)).env['COLOUR'], 'blue')
  },
)

test.serial('a worker that is started after a failed reload has the previous environment', async (t) => {
  const terminal = new Terminal(t)
  const file = terminal.write('.env', 'COLOUR=red\n')
  const app = terminal.start(['run', '-w', '1', ...BIND, '--env-file', '.env', fixture('hello-app')])
  const port = await app.port()
  const { pid } = await hello(port)
  rmSync(file)
  const { code, stderr } = await terminal.type('reload')
  t.is(code, 1)
  t.regex(stderr, /the reload failed, and the old workers continue: the env file .*\.env cannot be read: ENOENT/)
  process.kill(pid, 'SIGKILL')
  await until(async () => (await terminal.status()).workers[0]?.restarts === 1)
  const { env } = await hello(port)
  t.is(env['COLOUR'], 'red')
  t.is(env['PORT'], `${port}`)
})

test.serial('if an app fails at its first start, the command prints the reason in one block and exits', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write('broken.js', "console.error('no database'); process.exit(7)")
  const { code, stderr } = await terminal.type('run', '-w', '1', path)
  t.is(code, 1)
  t.regex(
    stderr,
    /^no database\nsocketserver: .*broken\.js could not be started: the worker in slot 0 exited with code 7 before it was ready\nits last lines:\n {2}\| no database\n$/,
  )
})

test.serial("the last lines of a worker have no colours and no functions of Node's own", async (t) => {
  const terminal = new Terminal(t)
  terminal.write('throws.js', "throw new TypeError('no settings')")
  const run = ['run', '-w', '1', 'throws.js']
  const { stderr } = await terminal.start(run, { FORCE_COLOR: '1' }).ended()
  const [written = '', quoted = ''] = stderr.split('its last lines:')
  t.true(written.includes('\x1b[') && written.includes('node:internal'))
  t.regex(quoted, /^\n( {2}\|.*\n)+$/)
  t.regex(quoted, / {2}\| TypeError: no settings\n {2}\| {5}at Object\.<anonymous> \(.*throws\.js:1:7\)\n {2}\|\n/)
  t.false(quoted.includes('\x1b') || quoted.includes('node:internal'))
})

for (const options of [[], ['--threads']]) {
  test.serial(
    `an app that throws at its first start ends the command: ${options.join(' ') || 'processes'}`,
    async (t) => {
      const terminal = new Terminal(t)
      const path = terminal.write('throws.js', "throw new TypeError('no settings')")
      const { code, stderr } = await terminal.type('run', '-w', '2', ...options, path)
      t.is(code, 1)
      t.regex(
        stderr,
        /socketserver: .*throws\.js could not be started: the worker in slot [01] (exited with code 1|.*no settings)(.|\n)*TypeError: no settings/,
      )
      t.is(stderr.split('could not be started').length, 2)
    },
  )
}

test.serial('a worker that fails after another has been ready is started again', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write(
    'one-fails.js',
    `const { env, exit } = process
     const fs = require('node:fs')
     if (env.NODE_APP_INSTANCE === '1' && !fs.existsSync('failed')) {
       setInterval(() => {
         if (!fs.existsSync('fail')) return
         fs.writeFileSync('failed', '')
         exit(7)
       }, 10)
     } else require('node:http').createServer().listen(env.PORT)`,
  )
  const app = terminal.start(['run', '-w', '2', ...BIND, path])
  await until(async () => (await terminal.type('status')).stdout.includes(' ready '))
  terminal.write('fail', '')
  await app.says(/has 2 workers and listens on/)
  t.regex(app.stderr, /the worker in slot 1 exited with code 7 before it was ready/)
  t.deepEqual(
    (await terminal.status()).workers.map(({ state }) => state),
    ['ready', 'ready'],
  )
})

test.serial('--keep-trying retries after the first start has failed', async (t) => {
  const terminal = new Terminal(t)
  const flag = join(terminal.folder, 'flag')
  const path = terminal.write(
    'late.js',
    `if (!require('node:fs').existsSync(${JSON.stringify(flag)})) process.exit(7)
     require(${JSON.stringify(fixture('hello-app'))})`,
  )
  const app = terminal.start(['run', '-w', '1', '--keep-trying', ...BIND, path])
  await app.says(/exited with code 7(.|\n)*exited with code 7/)
  terminal.write('flag', '')
  t.is(typeof (await hello(await app.port())).pid, 'number')
})

test.serial('an app that exits by itself cannot be started', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write('script.js', 'console.log(1 + 1)')
  const { code, stderr } = await terminal.type('run', '-w', '1', path)
  t.is(code, 1)
  t.regex(stderr, /script\.js could not be started: the worker in slot 0 exited with code 0 .* not a server\n$/)
})

test.serial('the message contains the port that another program uses', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '-w', '1', ...BIND, fixture('hello-app')])
  const port = await app.port()
  const { code, stderr } = await terminal.type(
    'run',
    '--name',
    'second',
    '--bind',
    `127.0.0.1:${port}`,
    fixture('hello-app'),
  )
  t.is(code, 1)
  t.regex(stderr, new RegExp(`could not be started: listen EADDRINUSE: address already in use 127.0.0.1:${port}\n$`))
})
