import { once } from 'node:events'
import { accessSync, chmodSync, chownSync, constants, linkSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { rootSerial } from '../helpers/conditional-test.js'
import { fixture } from '../helpers/fixture.js'
import { library } from '../helpers/library.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { Terminal } from '../helpers/terminal.js'

const { ControlServer } = library('command/control/control-server')

/** The arguments, the exit code, and a pattern of the message. */
const MISTAKES: readonly (readonly [args: string, code: number, message: RegExp])[] = [
  ['run', 2, /which app\? Type: socketserver run app\.js/],
  ['run -p app.js', 2, /which app\? --port has the value 'app\.js'\. Type: socketserver run app\.js/],
  ['run -w 0 app.js', 2, /--workers must be a whole number from 1 to 65535, or max .*, not '0'/],
  ['run -w x app.js', 2, /--workers must be a whole number .* not 'x'/],
  ['run -w', 2, /option -w needs a value/],
  ['run --worker 4 app.js', 2, /unknown option --worker; did you mean --workers\?/],
  ['run --frobnicate app.js', 2, /unknown option --frobnicate; 'socketserver --help' lists the options/],
  ['run --name --threads app.js', 2, /option --name needs a value; if '--threads' is meant, write --name=--threads/],
  ['run --keep-trying=yes app.js', 2, /option --keep-trying takes no value, but was given 'yes'/],
  ['run --port 70000 app.js', 2, /--port must be a whole number from 0 to 65535, not '70000'/],
  ['run --bind nowhere app.js', 2, /--bind must be 8080, host:8080, \[::1\]:8080, unix:\/path or fd:3, not 'nowhere'/],
  ['run --ready-timeout 5s app.js', 2, /--ready-timeout must be a whole number of milliseconds, not '5s'/],
  ['run --max-memory much app.js', 2, /--max-memory must be a size such as 300M or 1G, not 'much'/],
  ['run --policy fair app.js', 2, /--policy must be one of least-busy, round-robin, first, not 'fair'/],
  ['run --sticky ip app.js', 2, /--sticky must be address, sni, cookie:NAME, header:NAME or query:NAME, not 'ip'\n/],
  ['run --sticky cooky:sid app.js', 2, /--sticky must be .* not 'cooky:sid'; did you mean cookie:sid\?/],
  ['run --sticky query app.js', 2, /--sticky must be query:NAME, such as query:sid, not 'query'/],
  ['run --sticky cookie:a=b app.js', 2, /--sticky must be cookie:NAME, such as cookie:sid, not 'cookie:a=b'/],
  ['run --sticky sni:a app.js', 2, /--sticky must be sni or sni:strict, without a name, not 'sni:a'/],
  ['run --proxy-protocol 10.0.0.0/33 app.js', 2, /--proxy-protocol must be IP addresses, .* not '10\.0\.0\.0\/33'/],
  ['run --proxy-protocol ::1,unx app.js', 2, /--proxy-protocol must be .* not 'unx'; did you mean unix\?/],
  ['run --proxy-protocol 10.0.0.0/255.0.0.0 app.js', 2, /not '10\.0\.0\.0\/255.*; did you mean 10\.0\.0\.0\/8\?/],
  ['run --max-per-source 0 app.js', 2, /--max-per-source must be a whole number .* not '0'/],
  ['run --name a/b app.js', 2, /--name must consist of up to 64 letters.* not 'a\/b'/],
  ['run --env production app.js', 2, /option --env is for PM2's ecosystem files/],
  ['run missing.js', 1, /there is no file missing\.js in /],
  ['run folder', 1, /folder is a folder with neither index\.js .*socketserver run folder\/server\.js/],
  ['run next', 1, /next is a package, not a file\. Run its program: socketserver run node_modules\/next\/bin\/next\n/],
  ['run --cwd nowhere app.js', 1, /the folder to run in does not exist: .*nowhere/],
  ['run --pid-file nowhere/x app.js', 1, /the pid file .*nowhere\/x cannot be written: ENOENT/],
  ['run missing.config.js', 2, /there is no config file .*missing\.config\.js/],
  ['run bad.config.json', 2, /the config file .*bad\.config\.json cannot be read: /],
  ['app.js', 2, /unknown command 'app\.js'\. To run it, type: socketserver run app\.js/],
  ['statsu', 2, /unknown command 'statsu'; did you mean 'status'\?/],
  ['status a b', 2, /one name is enough: socketserver status \[name\]/],
  ['scale', 2, /how many\? Type: socketserver scale 4, scale \+1 or scale -1/],
  ['scale many', 2, /how many\? 'many' is not a number of workers\. Type: socketserver scale 4/],
  ['stop', 3, /no app is running/],
]

for (const [args, code, message] of MISTAKES) {
  test.serial(`'socketserver ${args}' ends with ${code} and one sentence`, async (t) => {
    const terminal = new Terminal(t)
    terminal.write('app.js', 'process.exit(9)')
    terminal.write('folder/other.js', '')
    terminal.write('bad.config.json', '{')
    terminal.write('node_modules/next/package.json', '{ "bin": "bin/next" }')
    const ended = await terminal.type(...args.split(' '))
    t.is(ended.code, code)
    t.regex(ended.stderr, message)
    t.regex(ended.stderr, /^socketserver: [^\n]*\n$/)
    t.is(ended.stdout, '')
  })
}

test('the file of the command is executable, for npx in a clone', (t) => {
  t.notThrows(() => accessSync(join(__dirname, '..', '..', '..', 'dist', 'lib', 'command', 'main.js'), constants.X_OK))
})

test.serial('help fits on a screen, and needs no app', async (t) => {
  const terminal = new Terminal(t)
  for (const typed of [['--help'], ['run', '--help'], ['help']]) {
    const { code, stdout } = await terminal.type(...typed)
    const lines = stdout.split('\n')
    t.true(lines.length <= 40 && lines.every((line) => line.length <= 92), stdout)
    t.is(code, 0)
  }
  t.is((await terminal.type()).code, 2)
})

test.serial('a second run of the same app reports the first', async (t) => {
  const terminal = new Terminal(t)
  const run = ['run', '-w', '1', '--bind', '127.0.0.1:0', fixture('hello-app')]
  const app = terminal.start(run)
  await app.port()
  const { code, stderr } = await terminal.type(...run)
  t.is(code, 1)
  t.regex(
    stderr,
    new RegExp(
      `an app named 'hello-app' is running already \\(pid ${app.pid}\\)\\. Stop it: socketserver stop hello-app, or .*--name`,
    ),
  )
  t.is((await terminal.status()).pid, app.pid)
})

test.serial('of two parents that start at one time with one name, one runs', async (t) => {
  const terminal = new Terminal(t)
  // Both processes must replace the socket of a dead parent.
  const left = terminal.start(['run', '-w', '1', '--bind', '127.0.0.1:0', fixture('hello-app')])
  await left.port()
  left.process.kill('SIGKILL')
  await left.ended()
  const both = [1, 2].map(() => terminal.start(['run', '-w', '1', '--bind', '127.0.0.1:0', fixture('hello-app')]))
  const loser = await Promise.race(both.map((app) => app.ended()))
  t.is(loser.code, 1)
  t.regex(loser.stderr, /an app named 'hello-app' is running already/)
  const winner = both.find(({ process }) => process.exitCode === null)
  await winner?.port()
  t.is((await terminal.status()).pid, winner?.pid ?? 0)
})

test.serial('of many that replace a stale control socket at one time, one has it', async (t) => {
  const folder = temporaryDirectory(t)
  const path = join(folder, 'app.sock')
  const dead = createServer().listen(join(folder, 'dead.sock'))
  await once(dead, 'listening')
  linkSync(join(folder, 'dead.sock'), path)
  dead.close()
  const opened = await Promise.allSettled(Array.from({ length: 20 }, () => ControlServer.open(path, {})))
  const servers = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  t.teardown(() => {
    for (const server of servers) server.close()
  })
  t.is(servers.length, 1)
  t.deepEqual(readdirSync(folder), ['app.sock'])
  const socket = createConnection(path)
  await once(socket, 'connect')
  socket.destroy()
})

test.serial('a folder for control sockets that others may enter is refused', async (t) => {
  const terminal = new Terminal(t)
  mkdirSync(terminal.controls)
  chmodSync(terminal.controls, 0o755)
  for (const typed of [['run', fixture('hello-app')], ['status']]) {
    const { code, stderr } = await terminal.type(...typed)
    t.is(code, 1)
    t.regex(
      stderr,
      /socketserver: the folder for control sockets, .*, has mode 0755, and others must not enter it: chmod 700/,
    )
  }
})

rootSerial('a folder for control sockets of another user is refused', async (t) => {
  const terminal = new Terminal(t)
  mkdirSync(terminal.controls, { mode: 0o700 })

  chownSync(terminal.controls, 65534, 65534)
  const { code, stderr } = await terminal.type('run', fixture('hello-app'))
  t.is(code, 1)
  t.regex(stderr, /the folder for control sockets, .*, belongs to the user 65534: use --control <path>/)
})

test.serial('a file in the way of the control socket stays', async (t) => {
  const terminal = new Terminal(t)
  const path = join(terminal.folder, 'precious')
  writeFileSync(path, 'words')
  const { code, stderr } = await terminal.type('run', '--control', path, fixture('hello-app'))
  t.is(code, 1)
  t.regex(stderr, /the control socket cannot be opened: .*precious exists and is no socket/)
  const long = await terminal.type('run', '--control', `/tmp/${'x'.repeat(120)}`, fixture('hello-app'))
  t.is(long.code, 1)
  t.regex(long.stderr, /the path of the control socket is longer than \d+ bytes/)
})

test.serial('--control is a path for every command', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '-w', '1', '--bind', '127.0.0.1:0', '--control', 'app.sock', fixture('hello-app')])
  await app.port()
  t.regex((await terminal.type('status', '--control', 'app.sock')).stdout, /^hello-app \(pid/)
  t.is((await terminal.type('stop', '--control', 'app.sock')).code, 0)
})
