import { once } from 'node:events'
import { createServer, type ListenOptions, type Server } from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { linuxTest } from '../helpers/conditional-test.js'
import { library } from '../helpers/library.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'

const { listenersOf } = library('server/worker/own-listeners')

async function listening(t: ExecutionContext, where: ListenOptions): Promise<Server> {
  const server = createServer()
  t.teardown(() => server.close())
  await once(server.listen(where), 'listening')
  return server
}

linuxTest('listenersOf() finds the ports and paths on which a process listens, and no others', async (t) => {
  const path = join(temporaryDirectory(t), 'own')
  const servers = [await listening(t, { port: 0, host: '127.0.0.1' }), await listening(t, { port: 0, host: '::1' })]
  await listening(t, { path })
  const expected = [...servers.map((server) => `port ${Object(server.address()).port}`), path]
  const found = await listenersOf(process.pid)
  for (const where of expected) t.true(found.includes(where), `${where} in ${found}`)
  const closed = await listening(t, { port: 0, host: '127.0.0.1' })
  const { port } = Object(closed.address())
  closed.close()
  await once(closed, 'close')
  t.false((await listenersOf(process.pid)).includes(`port ${port}`))
})

test('listenersOf() finds nothing for a process that has exited or a thread', async (t) => {
  t.deepEqual(await listenersOf(2 ** 22 + 1), [])
  t.deepEqual(await listenersOf(undefined), [])
})
