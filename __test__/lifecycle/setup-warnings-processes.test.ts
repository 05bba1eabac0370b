// A server without workers or listeners emits one process warning.

import test from 'ava'
import { call } from '../helpers/caller.js'
import { type Program, run } from '../helpers/program.js'
import { until } from '../helpers/until.js'

async function warning(program: Program): Promise<object> {
  await until(() => program.lines.some((line) => line.includes('warning')))
  return JSON.parse(program.lines.find((line) => line.includes('warning')) ?? '{}').warning
}

/** Ends the program and returns how many warnings it has printed beyond `warnings`. */
async function end(program: Program, warnings: number): Promise<number> {
  program.process.kill('SIGTERM')
  await program.exit()
  return program.lines.filter((line) => line.includes('warning')).length - warnings
}

test('a listener without workers is reported once, after a connection has waited for 5 s', async (t) => {
  const program = run(t, 'parent-missing-a-part', { args: ['workers'] })
  const { port } = JSON.parse(await program.line())
  for (let index = 0; index < 2; index++) await call(t, port).connected()
  t.deepEqual(await warning(program), {
    name: 'SocketServerWarning',
    message: 'A connection has waited for 5 s, and the server has no workers: call fork(), threads() or share()',
    code: 'SOCKETSERVER_NO_WORKERS',
  })
  t.is(await end(program, 1), 0)
})

test('ready workers without a listener are reported once, after 5 s', async (t) => {
  const program = run(t, 'parent-missing-a-part', { args: ['listener'] })
  t.deepEqual(await warning(program), {
    name: 'SocketServerWarning',
    message: 'Workers have been ready for 5 s, and the server has no listener: call listen()',
    code: 'SOCKETSERVER_NO_LISTENER',
  })
  t.true(program.lines.some((line) => line.includes('"ready":2')))
  t.is(await end(program, 1), 0)
})
