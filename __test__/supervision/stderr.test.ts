// The last lines of a worker that cannot start are in its error, although it inherits the standard error of its parent.

import { readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { linuxTest } from '../helpers/conditional-test.js'
import { fixture } from '../helpers/fixture.js'
import { isRunning } from '../helpers/processes.js'
import { run } from '../helpers/program.js'
import { startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'
import { until } from '../helpers/until.js'

const WORDS = 'the configuration is wrong'

/** Returns the target of a process's descriptor; empty if it has just been closed. */
function openOn(pid: number, fd: number | string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`)
  } catch {
    return ''
  }
}

linuxTest('from the second start on, the last lines of a worker that cannot start are in the error', async (t) => {
  const broken = join(temporaryDirectory(t), 'broken')
  writeFileSync(broken, '')
  const parent = run(t, 'parent-of-failing-worker', { args: [broken] })
  const [first, second, loop] = [await parent.json(), await parent.json(), await parent.json()].map(Object)
  t.like(first, { code: 'ERR_SOCKETSERVER_WORKER_EXITED', exitCode: 7 })
  t.is(first.stderr, undefined, 'the first start writes to the standard error of its parent')
  t.like(second, { code: 'ERR_SOCKETSERVER_WORKER_EXITED', exitCode: 7, stderr: WORDS })
  t.like(loop, { code: 'ERR_SOCKETSERVER_CRASH_LOOP', cause: WORDS })
  t.regex(loop.message, new RegExp(`exited 3 times in a row .*\\. Its last lines:\n${WORDS}$`, 's'))
  await until(() => parent.errors.split(`${WORDS}\n`).length > 3)

  rmSync(broken)
  const { pid, restarts } = Object(await parent.json())
  t.true(restarts >= 3)
  const own = openOn(parent.process.pid ?? 0, 2)
  // The worker restores its standard error right after its HELLO, which makes it ready.
  await until(() => openOn(pid, 2) === own)
  await until(() => readdirSync(`/proc/${pid}/fd`).filter((fd) => openOn(pid, fd) === own).length === 1)
  t.true(isRunning(pid))
})

linuxTest('a worker that starts at the first attempt inherits the standard error of its parent', async (t) => {
  const parent = run(t, 'parent-of-failing-worker', { args: ['/no/such/file'] })
  const { pid, restarts } = Object(await parent.json())
  t.is(restarts, 0)
  t.is(openOn(pid, 2), openOn(parent.process.pid ?? 0, 2))
})

test('the last lines of a thread that cannot start are in the error', async (t) => {
  const broken = join(temporaryDirectory(t), 'broken')
  writeFileSync(broken, '')
  const server = startServer(t)
  const pool = server.threads(fixture('fail-while-file-exists'), {
    workers: 1,
    argv: [broken],
    stderr: true,
    restart: false,
  })
  const error = await t.throwsAsync(pool.ready, { code: 'ERR_SOCKETSERVER_WORKER_EXITED' })
  t.like(error, { exitCode: 7, stderr: WORDS })
  t.regex(error.message, new RegExp(`exited with code 7 before it had connected\\. Its last lines:\n${WORDS}$`))
})
