import test from 'ava'
import { type ProgramOptions, run } from '../helpers/program.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { until } from '../helpers/until.js'
import { within } from '../helpers/within.js'

test('connect() returns the same client for the same port, and another client for another port', async (t) => {
  const server = startServer(t)
  await listen(server)
  const { reports } = forkFixture(server, 'connect-twice')
  const expected = { again: true, samePort: true, otherPort: true, variable: 'unset' }
  t.like(await reports.next('connected'), expected)
  t.like(await reports.next('back'), { isNew: true })
})

const NO_PARENT: readonly { where: string; options: ProgramOptions; why: RegExp }[] = [
  { where: 'a process that no server started', options: {}, why: /no server started this process: .*server\.fork\(/ },
  { where: 'a thread', options: { args: ['thread'] }, why: /in the main thread of a worker process/ },
  {
    where: 'a process whose variable is not a number',
    options: { env: { SOCKETSERVER_CHANNEL: '3 or so' } },
    why: /SOCKETSERVER_CHANNEL is '3 or so', which is not a descriptor/,
  },
  {
    where: 'a process whose descriptor is not open',
    options: { env: { SOCKETSERVER_CHANNEL: '987' } },
    why: /SOCKETSERVER_CHANNEL is 987, but that descriptor is not a channel to a server/,
  },
  {
    where: 'a process whose descriptor is not a socket',
    options: { env: { SOCKETSERVER_CHANNEL: '0' } },
    why: /SOCKETSERVER_CHANNEL is 0, but that descriptor is not a channel to a server/,
  },
]

for (const { where, options, why } of NO_PARENT) {
  test(`connect() in ${where} throws ERR_SOCKETSERVER_NO_PARENT with the reason`, async (t) => {
    const program = run(t, 'connect-without-server', options)
    const error = JSON.parse(await program.line())
    t.like(error, { name: 'SocketServerError', code: 'ERR_SOCKETSERVER_NO_PARENT' })
    t.regex(error.message, /^There is no server to connect to: /)
    t.regex(error.message, why)
    t.is(await program.exit(), 0)
  })
}

test('a worker that connects after its parent has exited gets ERR_SOCKETSERVER_CONNECTION_LOST and exits with 0', async (t) => {
  const parent = run(t, 'exit-parent-on-message', { args: ['connect-late'] })
  t.is(await parent.exit(), 7)
  const expected = ['leases 0', 'ERR_SOCKETSERVER_CONNECTION_LOST', 'close', 'exit 0']
  await until(() => parent.lines.length >= expected.length)
  t.deepEqual([...parent.lines].sort(), [...expected].sort())
  t.is(parent.errors, '')
})

test('a child process of a worker is not a worker and does not keep the channel open', async (t) => {
  const server = startServer(t)
  const { pool, reports } = forkFixture(server, 'ask-grandchild')
  const { output } = await reports.next('grandchild')
  t.is(JSON.parse(String(output)).code, 'ERR_SOCKETSERVER_NO_PARENT')
  await within(pool.close(), 'the exit of the worker')
  t.is(server.stats().workers, 0)
})
