// Compares listen() in an app under server.run() with the same app in a single process.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import test from 'ava'
import { fixture } from '../helpers/fixture.js'
import { startApp } from '../helpers/run-app.js'
import { within } from '../helpers/within.js'

test('listen() has the same results, errors and events as in a single process', async (t) => {
  const path = fixture('listen-outcomes')
  const single = fork(path, { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  t.teardown(() => single.kill('SIGKILL'))
  const { reports } = startApp(t, 'listen-outcomes', { workers: 1, ready: 'start', restart: false })
  const [[expected], report] = await Promise.all([
    within(once(single, 'message'), 'the report of the process', 20_000),
    reports.next('outcomes'),
  ])
  t.deepEqual(report['outcomes'], expected.outcomes)
})
