import test from 'ava'
import { linuxSerial } from '../helpers/conditional-test.js'
import { fixture } from '../helpers/fixture.js'
import { fetchOnce } from '../helpers/http.js'
import { Terminal } from '../helpers/terminal.js'
import { until } from '../helpers/until.js'

const STARTED = '{"level":"info","msg":"started","tty":false}'

test.serial('workers write every byte unchanged to the output of the parent', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '-w', '1', '--bind', '127.0.0.1:0', fixture('talking-app')])
  await fetchOnce(await app.port())
  t.is((await terminal.type('stop')).code, 0)
  const { stdout, stderr } = await app.ended()
  t.is(stdout, `${STARTED}\n{"path":"/"}\n`)
  t.true(stderr.includes('no end of line'))
})

test.serial('with --log-prefix each line begins with the slot of its worker', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '-w', '2', '--log-prefix', '--bind', '127.0.0.1:0', fixture('talking-app')])
  await fetchOnce(await app.port())
  t.is((await terminal.type('stop')).code, 0)
  const { stdout, stderr } = await app.ended()
  const lines = stdout.trim().split('\n').sort()
  t.is(lines.length, 3)
  t.is(lines.filter((line) => line === `0| ${STARTED}` || line === `1| ${STARTED}`).length, 2)
  t.is(lines.filter((line) => /^[01]\| \{"path":"\/"\}$/.test(line)).length, 1)
  t.regex(stderr, /^[01]\| no end of line$/m)
})

test.serial('logs prints the last lines, and follows with -f until the app ends', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '-w', '1', '--log-prefix', '--bind', '127.0.0.1:0', fixture('talking-app')])
  const port = await app.port()
  await until(() => app.stdout !== '')
  t.deepEqual(await terminal.type('logs'), { code: 0, stdout: `0| ${STARTED}\n`, stderr: '' })
  const follower = terminal.start(['logs', 'talking-app', '-f'])
  await until(() => follower.stdout !== '')
  await fetchOnce(port)
  await until(() => follower.stdout.includes('0| {"path":"/"}\n'))
  t.is((await terminal.type('stop')).code, 0)
  t.is((await follower.ended()).code, 0)
})

test.serial('logs names the destination of output that does not go through the parent', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '-w', '1', '--bind', '127.0.0.1:0', fixture('talking-app')])
  await app.port()
  const { code, stderr } = await terminal.type('logs')
  t.is(code, 1)
  t.regex(stderr, /the output of talking-app goes straight to its terminal or file\. Start it with --log-prefix/)
})

linuxSerial('in a terminal, the output has slots before each line if there are several workers', async (t) => {
  const terminal = new Terminal(t)
  const run = ['run', '--bind', '127.0.0.1:0', '--name']
  const one = terminal.startInTty([...run, 'one', '-w', '1', fixture('talking-app')])
  await until(() => one.stdout.includes('{"level":"info","msg":"started","tty":true}\r\n'))
  const two = terminal.startInTty([...run, 'two', '-w', '2', fixture('talking-app')])
  await until(() => / listens on /.test(two.stdout))
  await until(() => two.stdout.includes(`\x1b[36m0|\x1b[0m ${STARTED}\r\n`))
  await until(() => two.stdout.includes(`\x1b[33m1|\x1b[0m ${STARTED}\r\n`))
  const [, port] = / listens on .*?:(\d+)/.exec(two.stdout) ?? []
  t.is((await fetchOnce(Number(port))).body, '1', 'FORCE_COLOR: xterm has 16 colours')
  const three = terminal.startInTty([...run, 'three', '-w', '2', '--no-log-prefix', fixture('talking-app')])
  await until(() => three.stdout.includes('{"level":"info","msg":"started","tty":true}\r\n'))
})

linuxSerial('Ctrl-C in a terminal reaches only the parent, which drains and exits with 0', async (t) => {
  const terminal = new Terminal(t)
  const path = terminal.write(
    'app.js',
    `process.on('SIGINT', () => console.log('interrupted')); require(${JSON.stringify(fixture('talking-app'))})`,
  )
  const app = terminal.startInTty(['run', '-w', '2', '--bind', '127.0.0.1:0', path])
  await until(() => / listens on /.test(app.stdout))
  app.process.stdin?.write('\x03')
  const { code, stdout } = await app.ended()
  t.is(code, 0)
  t.false(stdout.includes('interrupted'))
})
