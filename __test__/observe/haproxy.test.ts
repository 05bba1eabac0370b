// A real HAProxy distributes connections to two servers with the configuration in examples/. One server drains, and no request is
// lost.

import { spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { TcpAddress } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { ask } from '../helpers/caller.js'
import { freePort } from '../helpers/free-port.js'
import { type Program, run } from '../helpers/program.js'
import { until } from '../helpers/until.js'

const CONFIGURATION = join(__dirname, '..', '..', '..', 'examples', 'observe', 'haproxy.cfg')

const hasHaproxy = spawnSync('haproxy', ['-v']).status === 0
if (!hasHaproxy) console.warn('haproxy is not installed: the test with it is skipped.')
const haproxyTest = hasHaproxy ? test : test.skip

interface Backend {
  parent: Program
  port: number
  agent: TcpAddress
}

async function startBackend(t: ExecutionContext): Promise<Backend> {
  const parent = run(t, 'parent-with-drain-delay', { args: ['3000', 'answer-parent-pid'] })
  const { port, agent }: Backend = JSON.parse(await parent.line())
  return { parent, port, agent }
}

/** Starts HAProxy in front of two servers. Returns its port. */
async function startHaproxy(t: ExecutionContext, first: Backend, second: Backend): Promise<number> {
  const port = await freePort()
  const env = {
    ...process.env,
    LISTEN: `127.0.0.1:${port}`,
    FIRST: `127.0.0.1:${first.port}`,
    FIRST_AGENT: String(first.agent.port),
    SECOND: `127.0.0.1:${second.port}`,
    SECOND_AGENT: String(second.agent.port),
  }
  const haproxy = spawn('haproxy', ['-db', '-f', CONFIGURATION], { env, stdio: 'ignore' })
  t.teardown(() => haproxy.kill('SIGKILL'))
  await until(async () => (await answer(port)) !== '')
  return port
}

/** Returns the answer of a worker behind HAProxy, or an empty string without an answer. */
async function answer(port: number): Promise<string> {
  return await ask(port, 'words').catch(() => '')
}

haproxyTest(
  'HAProxy uses two servers, sends no new connection to a draining server, and loses no request',
  async (t) => {
    const [first, second] = await Promise.all([startBackend(t), startBackend(t)])
    const pids = [first, second].map(({ parent }) => String(parent.process.pid))
    const port = await startHaproxy(t, first, second)
    const seen = new Set<string>()
    await until(async () => seen.add(await answer(port)).size === 2)
    t.deepEqual([...seen].sort(), [...pids].sort())
    const answers: string[] = []
    let isOver = false
    const load = async (): Promise<void> => {
      while (!isOver) {
        answers.push(await answer(port))
        await delay(2)
      }
    }
    const loads = Array.from({ length: 4 }, load)
    await until(() => answers.length > 50)
    first.parent.process.kill('SIGTERM')
    t.is(await first.parent.exit(), 0)
    const atExit = answers.length
    await until(() => answers.length > atExit + 100)
    isOver = true
    await Promise.all(loads)
    t.is(answers.filter((pid) => !pids.includes(pid)).length, 0, `lost of ${answers.length}`)
    t.true(answers.slice(atExit - 20).every((pid) => pid === pids[1]))
  },
)
