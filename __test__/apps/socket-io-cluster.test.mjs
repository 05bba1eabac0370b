// @socket.io/sticky with node:cluster, beside the server of this package: the table in docs/routing.md compares them.

import https from 'node:https'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { SocketIoClient } from './support/socket-io-clients.mjs'
import { startCluster } from './support/socket-io-cluster.mjs'
import { keepSessions, startClients, TRANSPORTS } from './support/socket-io-sessions.mjs'

for (const [name, transports] of /** @type {const} */ ([
  ['the default transports', TRANSPORTS.default],
  ['polling alone', TRANSPORTS.polling],
])) {
  test.serial(`@socket.io/sticky restores sessions with ${name} after a reload and a killed worker`, async (t) => {
    const subject = await startCluster(t, 'http')
    await keepSessions(t, subject, startClients(t, subject, transports))
  })
}

// The handshake of TLS does not complete, so no transport connects.
for (const transports of Object.values(TRANSPORTS)) {
  test.serial(`@socket.io/sticky connects no client over https by ${transports.join(' or ')}`, async (t) => {
    const { url } = await startCluster(t, 'https')
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
