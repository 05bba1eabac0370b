// listen() refuses the forms of net's listen() that it does not support, and suggests an alternative.

import { randomUUID } from 'node:crypto'
import { DescriptorStream, type Server } from '@socketserver/node'
import test, { type ExecutionContext } from 'ava'
import { linuxTest } from '../helpers/conditional-test.js'
import { forkFixture, startServer } from '../helpers/served.js'
import { next } from '../helpers/streams.js'

function listening(): void {}

const listen = (server: Server, given: readonly unknown[]): Promise<unknown> =>
  Promise.resolve(Reflect.apply(server.listen, server, given))

async function refused(t: ExecutionContext, given: readonly unknown[], code: string, message: RegExp): Promise<void> {
  const server = startServer(t)
  const error = await t.throwsAsync(listen(server, given), { instanceOf: TypeError })
  t.like(error, { code })
  t.regex(error?.message ?? '', message)
  t.deepEqual(server.addresses(), [])
}

test('listen(undefined) reports a missing port, because the usual cause is an unset variable', async (t) => {
  for (const given of [[], [undefined], [undefined, '127.0.0.1']]) {
    await refused(t, given, 'ERR_INVALID_ARG_TYPE', /^The "port" argument must be .* Received undefined$/)
  }
})

test('listen() refuses a callback at every position', async (t) => {
  const forms = [[0], [0, '127.0.0.1'], [0, '127.0.0.1', 511], ['/nowhere/a'], [{ port: 0 }], [undefined]]
  for (const form of forms) {
    const message = /^The "callback" argument is not supported: listen\(\) returns a promise\. Received \[Function/
    await refused(t, [...form, listening], 'ERR_INVALID_ARG_VALUE', message)
  }
})

test('listen() refuses a backlog and a host that it would ignore', async (t) => {
  const backlog = /^The "backlog" argument is not supported: use listen\(\{ port, host, backlog \}\)\. Received 511$/
  await refused(t, [0, '127.0.0.1', 511], 'ERR_INVALID_ARG_VALUE', backlog)
  const host = /^The "host" argument is only allowed with a port/
  await refused(t, ['/nowhere/a', 'localhost'], 'ERR_INVALID_ARG_VALUE', host)
  await refused(t, [{ port: 0 }, 'localhost'], 'ERR_INVALID_ARG_VALUE', host)
})

for (const [form, argument] of [
  ["listen('\\0name')", (name: string) => name],
  ["listen({ path: '\\0name' })", (path: string) => ({ path })],
] as const) {
  linuxTest(`${form} listens on an abstract socket until the server closes`, async (t) => {
    const name = `\0socketserver-${randomUUID()}`
    const server = startServer(t)
    t.deepEqual(await listen(server, [argument(name)]), { path: name })
    const { pool } = forkFixture(server, 'answer-pid-and-hold')
    await pool.ready
    // Not through net, which pads the name in Node 20.
    using client = await DescriptorStream.connect(name)
    t.is((await next(client)).data.toString().trim(), String(pool.workers[0]?.pid))
    await t.throwsAsync(listen(startServer(t), [argument(name)]), { code: 'EADDRINUSE' })
    server.destroy()
    await server.close()
    await t.throwsAsync(DescriptorStream.connect(name), { code: 'ECONNREFUSED' })
  })
}

linuxTest(
  'listen() refuses readableAll and writableAll for an abstract socket, which has no permissions',
  async (t) => {
    for (const option of ['readableAll', 'writableAll']) {
      const message = new RegExp(`^The "options.${option}" property is only allowed with a path: an abstract name`)
      await refused(t, [{ path: '\0socketserver', [option]: true }], 'ERR_INVALID_ARG_VALUE', message)
    }
  },
)
