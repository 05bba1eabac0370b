// Sessions of socket.io on several workers: every request of a session reaches its worker.

import test from 'ava'
import { INSTALLED, startHaproxy, startNginx } from './support/proxies.mjs'
import { startServer } from './support/socket-io-server.mjs'
import { keepSessions, startClients, startTabs, TRANSPORTS } from './support/socket-io-sessions.mjs'

/** The clients share one event loop. The times are those of a loaded machine. */
const BY_SESSION = { query: 'sid', timeout: 60_000, wait: 60_000 }
const BY_ADDRESS = /** @type {const} */ ({ by: 'address', strict: true, wait: 60_000 })

// The server closes each connection after one request, so that no kept connection carries the requests of two sessions.
for (const kind of /** @type {const} */ (['processes', 'threads'])) {
  for (const [name, transports] of /** @type {const} */ ([
    ['the default transports', TRANSPORTS.default],
    ['polling alone', TRANSPORTS.polling],
  ])) {
    test.serial(`${kind} keep sessions with ${name}, also through a reload and a killed worker`, async (t) => {
      const subject = await startServer(t, { kind, sticky: BY_SESSION, oneRequest: true })
      await keepSessions(t, subject, startClients(t, subject.url, transports))
    })
  }
}

// Over TLS, the parent cannot read the session id. The address leads all connections of a client to one worker.
for (const [name, transports, kind, sticky] of /** @type {const} */ ([
  ['the default transports', TRANSPORTS.default, 'processes', BY_ADDRESS],
  ['polling alone', TRANSPORTS.polling, 'threads', BY_ADDRESS],
  ['websocket alone', TRANSPORTS.websocket, 'processes', undefined],
])) {
  test.serial(`over https, ${kind} keep sessions with ${name}`, async (t) => {
    const subject = await startServer(t, { kind, scheme: 'https', ...(sticky && { sticky }) })
    await keepSessions(t, subject, startClients(t, subject.url, transports))
  })
}

// Both proxies keep connections to the server, and send the requests of all clients over each, unless the server closes it.
for (const [name, transports, haproxyKind, nginxKind] of /** @type {const} */ ([
  ['the default transports', TRANSPORTS.default, 'processes', 'threads'],
  ['polling alone', TRANSPORTS.polling, 'threads', 'processes'],
])) {
  haproxyTest(`behind HAProxy with its defaults, ${haproxyKind} keep sessions with ${name}`, async (t) => {
    const startProxy = (/** @type {number} */ port) => startHaproxy(t, port)
    const subject = await startServer(t, { kind: haproxyKind, sticky: BY_SESSION, oneRequest: true, startProxy })
    await keepSessions(t, subject, startTabs(t, subject.url, transports))
  })

  nginxTest(`behind nginx with kept connections, ${nginxKind} keep sessions with ${name}`, async (t) => {
    const startProxy = (/** @type {number} */ port) => startNginx(t, port, '')
    const subject = await startServer(t, { kind: nginxKind, sticky: BY_SESSION, oneRequest: true, startProxy })
    await keepSessions(t, subject, startTabs(t, subject.url, transports))
  })
}

// These settings open a connection for each request, so the server need not close it.
haproxyTest('behind HAProxy with http-server-close, workers that keep connections keep sessions', async (t) => {
  const startProxy = (/** @type {number} */ port) => startHaproxy(t, port, 'option http-server-close')
  const subject = await startServer(t, { kind: 'threads', sticky: BY_SESSION, startProxy })
  await keepSessions(t, subject, startTabs(t, subject.url, TRANSPORTS.polling))
})

nginxTest(
  'behind nginx with the map of its guide to WebSocket, workers that keep connections keep sessions',
  async (t) => {
    const startProxy = (/** @type {number} */ port) => startNginx(t, port, 'close')
    const subject = await startServer(t, { kind: 'processes', sticky: BY_SESSION, startProxy })
    await keepSessions(t, subject, startTabs(t, subject.url, TRANSPORTS.polling))
  },
)

/**
 * @param {string} title
 * @param {import('ava').Implementation<[]>} implementation
 */
function haproxyTest(title, implementation) {
  if (INSTALLED.haproxy) test.serial(title, implementation)
  else test.serial.skip(title, implementation)
}

/**
 * @param {string} title
 * @param {import('ava').Implementation<[]>} implementation
 */
function nginxTest(title, implementation) {
  if (INSTALLED.nginx) test.serial(title, implementation)
  else test.serial.skip(title, implementation)
}
