// A worker hands back a connection whose socket it keeps locked: calls that need the lock wait for that worker.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { WorkerHandle } from '@socketserver/node'
import { ask, call } from '../helpers/caller.js'
import { rootTest } from '../helpers/conditional-test.js'
import { run } from '../helpers/program.js'
import { listen, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

// In the source folder: the compiler does not copy it.
const FIXTURE = join(__dirname, '..', '..', '..', '__test__', 'share', 'fixtures', 'lock-and-hand-back.py')

rootTest('a worker that locks the socket it hands back is disconnected, and delays no client of others', async (t) => {
  const path = join(temporaryDirectory(t), 'ctl')
  const server = startServer(t)
  const errors: Error[] = []
  server.on('error', (error) => errors.push(error))
  const port = await listen(server)
  await server.share(path)
  const other = run(t, 'join', { args: [path] }).process.pid ?? 0
  await once(server, 'worker')
  // With this lease the other worker is busier than the hostile one.
  const holding = call(t, port)
  await holding.receives(`${other} holds`)
  const joined = once(server, 'worker')
  const hostile = spawn('python3', [FIXTURE, path], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => hostile.kill('SIGKILL'))
  const returned = once(hostile.stdout, 'data')
  const [handle]: WorkerHandle[] = await within(joined, 'the hostile worker')
  const locked = call(t, port)
  await within(returned, 'the hand-back')

  for (let index = 0; index < 5; index++) {
    t.is(await within(ask(port, 'x'), 'an answer of the other worker'), `${other} holds, and echoes x`)
  }
  await until(() => handle?.state === 'exited' && errors.length === 1)
  t.like(errors[0], { code: 'ERR_SOCKETSERVER_PROTOCOL', pid: hostile.pid })
  t.regex(errors[0]?.message ?? '', /the socket returned for connection \d+ stays locked/)
  t.like(server.stats(), { workers: 1, cut: 1, handedBack: 0 })
  locked.socket.destroy()
  t.is(await holding.send('held').answer(), `${other} holds, and echoes held`)
})
