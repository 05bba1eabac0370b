import test from 'ava'
import { linuxSerial } from '../helpers/conditional-test.js'
import { fixture } from '../helpers/fixture.js'
import { fetchOnce } from '../helpers/http.js'
import { childrenOf } from '../helpers/processes.js'
import { Terminal } from '../helpers/terminal.js'
import { until } from '../helpers/until.js'

linuxSerial('top redraws the workers until the user types q', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '-w', '2', '--bind', '127.0.0.1:0', fixture('hello-app')])
  const port = await app.port()
  const top = terminal.startInTty(['top'])
  await until(() => /slot .*\n? *0 +ready/s.test(top.stdout))
  t.regex(top.stdout, /hello-app \(pid \d+\)/)
  for (let i = 0; i < 3; i++) await fetchOnce(port)
  await until(() => /accepted 3 /.test(top.stdout) && /taken \d+\/s/.test(top.stdout))
  await until(() => /\n?.* 0 +ready .* \d+% +\d+\.\d MB/.test(top.stdout))
  top.process.stdin?.write('q')
  const { code, stdout } = await top.ended()
  t.is(code, 0)
  t.true(stdout.includes('\x1b[?1049h') && stdout.includes('\x1b[?1049l'), 'the screen is restored')
})

linuxSerial('top restores the terminal when it is terminated by a signal', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '-w', '1', '--bind', '127.0.0.1:0', fixture('hello-app')])
  await app.port()
  const top = terminal.startInTty(['top'])
  await until(() => top.stdout.includes('ready'))
  const [pid] = childrenOf(top.pid)
  process.kill(pid ?? 0, 'SIGTERM')
  const { code, stdout } = await top.ended()
  t.is(code, 143)
  t.true(stdout.trimEnd().endsWith('\x1b[?25h\x1b[?1049l'), JSON.stringify(stdout.slice(-80)))
})

linuxSerial('top ends when the app ends', async (t) => {
  const terminal = new Terminal(t)
  const app = terminal.start(['run', '-w', '1', '--bind', '127.0.0.1:0', fixture('hello-app')])
  await app.port()
  const top = terminal.startInTty(['top'])
  await until(() => top.stdout.includes('ready'))
  t.is((await terminal.type('stop')).code, 0)
  const { code, stdout } = await top.ended()
  t.is(code, 3)
  t.regex(stdout, /hello-app has ended/)
})

test.serial('top needs a terminal', async (t) => {
  const { code, stderr } = await new Terminal(t).type('top')
  t.is(code, 2)
  t.regex(stderr, /top needs a terminal; 'socketserver status' does not/)
})
