// @socket.io/sticky with node:cluster, beside the server of this package: the table in docs/routing.md compares them.

import https from 'node:https'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { SocketIoClient } from './support/socket-io-clients.mjs'
import { startCluster } from './support/socket-io-cluster.mjs'
import { startClients, TRANSPORTS, WORKERS } from './support/socket-io-sessions.mjs'

test.serial('@socket.io/sticky connects all clients with the default transports to all workers', async (t) => {
  const url = await startCluster(t, 'http')
  const clients = startClients(t, url, TRANSPORTS.default)
  const answers = await Promise.all(clients.map((client) => client.answerOf()))
  t.is(new Set(answers.map(({ worker }) => worker)).size, WORKERS)
})

// The handshake of TLS does not complete, so no transport connects.
for (const transports of Object.values(TRANSPORTS)) {
  test.serial(`@socket.io/sticky connects no client over https by ${transports.join(' or ')}`, async (t) => {
    const url = await startCluster(t, 'https')
    const agent = new https.Agent()
    const client = new SocketIoClient(url, transports, agent, 1000)
    t.teardown(() => {
      client.close()
      agent.destroy()
    })
    while (client.failures === 0 && !client.isConnected) await delay(20)
    t.false(client.isConnected)
  })
}
