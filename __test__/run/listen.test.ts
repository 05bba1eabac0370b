// An unmodified app listens with the same results as in a single process.

import test from 'ava'
import { fetchOnce } from '../helpers/http.js'
import { runApp } from '../helpers/run-app.js'

test('listen(0) returns when the server listens at the address of the parent', async (t) => {
  const { server, reports, port } = await runApp(t, 'unaware-http')
  const addresses = [await reports.next('listened'), await reports.next('listened')]
  for (const { isListening, address } of addresses) {
    t.true(isListening)
    t.deepEqual(address, server.addresses()[0])
  }
  t.not(port, 0)
  t.is(server.addresses().length, 1)
})

test('all workers answer on one port', async (t) => {
  const { pool, port } = await runApp(t, 'unaware-http')
  const answers = new Set<string>()
  for (let i = 0; i < 200 && answers.size < 2; i++) answers.add((await fetchOnce(port)).body)
  t.deepEqual([...answers].sort(), pool.workers.map(({ pid }) => String(pid)).sort())
})

test('the app is the main module, with its own arguments, flags and environment', async (t) => {
  const { reports } = await runApp(t, 'unaware-http', { args: ['--name', 'value'], execArgv: ['--no-warnings'] })
  const { isMain, argv, execArgv, variables } = await reports.next('started')
  t.true(isMain)
  t.deepEqual(argv, ['--name', 'value'])
  t.deepEqual(execArgv, ['--no-warnings'])
  t.deepEqual(variables, [])
})

test('a reload keeps the port', async (t) => {
  const app = await runApp(t, 'unaware-http')
  const { port } = app
  const before = app.pool.workers.map(({ pid }) => String(pid))
  await app.pool.reload()
  t.is(app.port, port)
  t.false(before.includes((await fetchOnce(port)).body))
})
