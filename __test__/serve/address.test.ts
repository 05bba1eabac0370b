import { join } from 'node:path'
import test from 'ava'
import { call } from '../helpers/caller.js'
import { fetchOnce, requestText } from '../helpers/http.js'
import { forkFixture, listen, startServer } from '../helpers/served.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'

test("address() of a served server is the listener's as soon as the server listens", async (t) => {
  const server = startServer(t)
  const { address, family, port } = await server.listen(0, '127.0.0.1')
  const { reports } = forkFixture(server, 'report-address')
  t.deepEqual((await reports.next('listening'))['address'], { address, family, port })
  t.deepEqual(JSON.parse((await fetchOnce(port)).body), { address, family, port })
})

test('address() of a served server is that of the port that it serves', async (t) => {
  const server = startServer(t)
  await listen(server)
  const { address, family, port } = await server.listen(0, '127.0.0.1')
  const env = { ...process.env, PORT: String(port) }
  const { reports } = forkFixture(server, 'report-address', { env })
  t.deepEqual((await reports.next('listening'))['address'], { address, family, port })
})

test('address() of a served server is the path of a Unix listener', async (t) => {
  const server = startServer(t)
  const path = join(temporaryDirectory(t), 'socket')
  await server.listen({ path })
  const { reports } = forkFixture(server, 'report-address')
  t.is((await reports.next('listening'))['address'], path)
  const caller = call(t, path).send(requestText('/', { Connection: 'close' }))
  t.true((await caller.answer()).endsWith(JSON.stringify(path)))
})
