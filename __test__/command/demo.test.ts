import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { fixture } from '../helpers/fixture.js'
import { freePort } from '../helpers/free-port.js'
import { fetchOnce } from '../helpers/http.js'
import { isRunning } from '../helpers/processes.js'
import { Running, Terminal } from '../helpers/terminal.js'
import { until } from '../helpers/until.js'

const DEMO = join(__dirname, '..', '..', '..', 'scripts', 'run-demo.mjs')

test.serial('the demo serves, reloads, and leaves nothing behind after Ctrl-C', async (t) => {
  const terminal = new Terminal(t)
  const port = await freePort()
  const program = [process.execPath, '--require', fixture('ends-with-its-test'), DEMO, `${port}`]
  const demo = new Running(t, program, terminal.folder, { ...terminal.env, WEB_CONCURRENCY: '2' })
  await until(() => demo.stdout.includes('npx socketserver stop') || demo.process.exitCode !== null)
  t.regex(
    demo.stderr,
    new RegExp(`^socketserver: demo \\(pid ${demo.pid}\\) has 2 workers and listens on 127.0.0.1:${port}$`, 'm'),
  )
  t.regex((await fetchOnce(port)).body, /^Hello, .*: this is process \d+\.\n$/)

  const before = await terminal.status()
  t.is(before.name, 'demo')
  t.is((await terminal.type('reload')).stdout, 'demo: reloaded 2 workers, generation 2\n')
  const after = await terminal.status()
  t.deepEqual(
    after.workers.map(({ generation, state }) => ({ generation, state })),
    [
      { generation: 2, state: 'ready' },
      { generation: 2, state: 'ready' },
    ],
  )

  demo.process.kill('SIGINT')
  t.is((await demo.ended()).code, 0)
  t.false([...before.workers, ...after.workers].some(({ pid }) => isRunning(pid ?? 0)))
  t.deepEqual(readdirSync(terminal.controls), [])
})

test.serial('the demo refuses a port that is none', async (t) => {
  const terminal = new Terminal(t)
  const demo = new Running(t, [process.execPath, DEMO, '80x'], terminal.folder, terminal.env)
  const { code, stderr } = await demo.ended()
  t.is(code, 1)
  t.is(stderr, "\nThe port must be a whole number from 1 to 65535, not '80x'.\n")
})
