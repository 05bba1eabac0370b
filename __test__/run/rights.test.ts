// An app listens with the permissions and the descriptors of its parent.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import test from 'ava'
import { fixture } from '../helpers/fixture.js'
import { handleNumber } from '../helpers/handle-number.js'
import { fetchOnce } from '../helpers/http.js'
import { ordinaryUser } from '../helpers/parent.js'
import { run } from '../helpers/program.js'
import { within } from '../helpers/within.js'
import { writeApp } from '../helpers/write-app.js'

/** Whether only a privileged user may listen on port 1. */
const isPrivileged = process.platform !== 'linux' || firstOrdinaryPort() > 1
const privilegedTest = isPrivileged ? test : test.skip

function firstOrdinaryPort(): number {
  return Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'))
}

privilegedTest('listen() on a privileged port fails with the same error as in a single process', async (t) => {
  const app = fixture('listen-on-privileged-port')
  const single = fork(app, { execArgv: [], ...ordinaryUser() })
  t.teardown(() => single.kill('SIGKILL'))
  const parent = run(t, 'parent-of-app', { args: [app], ...ordinaryUser() })
  const [expected] = await within(once(single, 'message'), 'the error of the process')
  t.is(expected.code, 'EACCES')
  t.deepEqual(await parent.json(), expected)
})

test('listen({ fd }) means the descriptor of the parent, if the parent listens on it', async (t) => {
  const socket = createServer().listen(0, '127.0.0.1')
  t.teardown(() => socket.close())
  await once(socket, 'listening')
  const app = writeApp(
    t,
    `const server = require('node:http').createServer((_, response) => response.end(String(process.pid)))
     server.listen({ fd: 3 }, () => process.send({ pid: process.pid, address: server.address() }))`,
  )
  const parent = run(t, 'parent-of-app', { args: [app, 'adopt'], descriptors: [handleNumber(socket)] })
  const { pid, address } = Object(await parent.json())
  t.deepEqual(address, socket.address())
  socket.close()
  t.is((await fetchOnce(address.port)).body, String(pid))
})
