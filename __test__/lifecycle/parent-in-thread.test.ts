// A worker thread can be a parent, and its end leaves nothing behind.

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { ask, refuses } from '../helpers/caller.js'
import { fixture } from '../helpers/fixture.js'
import { run } from '../helpers/program.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

const onLinux = process.platform === 'linux' ? test : test.skip

test('two threads of one process can be parents, and one can end before the other', async (t) => {
  const threads = [0, 1].map(() => new Worker(fixture('parent-in-thread'), { execArgv: [] }))
  t.teardown(() => Promise.all(threads.map((thread) => thread.terminate())))
  const messages = await within(Promise.all(threads.map((thread) => once(thread, 'message'))), 'the ports')
  const [first, second] = messages.map(([port]) => Number(port))
  t.like(JSON.parse(await ask(first ?? 0)), { localPort: first })
  t.like(JSON.parse(await ask(second ?? 0)), { localPort: second })
  await threads[0]?.terminate()
  await until(() => refuses(first ?? 0))
  t.like(JSON.parse(await ask(second ?? 0)), { localPort: second })
})

onLinux('terminating 20 threads that are parents leaks no descriptor and no thread and does not crash', async (t) => {
  const program = run(t, 'terminate-many-threads')
  t.timeout(300_000)
  for (const warmUp of ['first', 'second']) t.is(await program.line(), warmUp)
  for (let i = 0; i < 20; i++) t.is(await program.line(), `${i}`)
  const { before, after } = JSON.parse(await program.line())
  t.true(after.descriptors <= before.descriptors, JSON.stringify({ before, after }))
  t.true(after.threads <= before.threads, JSON.stringify({ before, after }))
  t.is(await program.exit(), 0)
  t.is(program.errors, '')
})
