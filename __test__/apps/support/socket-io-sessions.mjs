// The life of many sessions of socket.io: they begin, go on, and are restored after a reload and a killed worker.

import http from 'node:http'
import https from 'node:https'
import { SocketIoClient } from './socket-io-clients.mjs'

const CLIENTS = 100
export const WORKERS = 4

/** @typedef {import('./socket-io-clients.mjs').Transports} Transports */

/** The transports that the clients of socket.io may use. */
export const TRANSPORTS = /** @type {const} */ ({
  default: ['polling', 'websocket'],
  polling: ['polling'],
  websocket: ['websocket'],
})

/**
 * A server whose sessions are tested.
 *
 * @typedef {object} Subject
 * @property {string} url
 * @property {() => Promise<unknown>} reload replaces all workers by workers of generation 2
 * @property {() => Promise<number>} kill kills a worker and returns its id
 * @property {() => unknown} explain returns what may explain a failed attempt to connect
 */

/**
 * Asserts that all clients connect and keep their sessions, and that they begin new sessions after a reload and a killed worker.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {Subject} subject
 * @param {readonly SocketIoClient[]} clients
 */
export async function keepSessions(t, subject, clients) {
  const begun = await Promise.all(clients.map((client) => client.answerOf()))
  t.is(new Set(begun.map(({ worker }) => worker)).size, WORKERS)
  const sessions = sessionsOf(clients)
  await Promise.all(clients.map((client) => client.answerOf()))
  t.deepEqual(sessionsOf(clients), sessions)
  const failures = clients.reduce((sum, client) => sum + client.failures, 0)
  t.is(failures, 0, JSON.stringify(subject.explain()))

  await subject.reload()
  const reloaded = await Promise.all(clients.map((client) => client.answerOf(({ generation }) => generation === 2)))

  const victim = await subject.kill()
  const others = clients.filter((_, index) => reloaded[index]?.worker !== victim)
  t.true(others.length < clients.length)
  const sessionsOfOthers = sessionsOf(others)
  await Promise.all(clients.map((client) => client.answerOf(({ worker }) => worker !== victim)))
  t.deepEqual(sessionsOf(others), sessionsOfOthers)
}

/** @param {readonly SocketIoClient[]} clients */
function sessionsOf(clients) {
  return clients.map(({ session }) => session)
}

/**
 * Starts clients, each with an address of its own. Every second client keeps its connections, as a browser does. The others open a
 * connection for each request.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {string} url
 * @param {Transports} transports
 */
export function startClients(t, url, transports) {
  return start(t, (index) => {
    const agent = startAgent(t, url, { keepAlive: index % 2 === 0, localAddress: `127.0.0.${index + 2}` })
    return new SocketIoClient(url, transports, agent)
  })
}

/**
 * Starts clients that send their requests over the same kept connections, as the tabs of one browser do.
 *
 * @param {import('ava').ExecutionContext} t
 * @param {string} url
 * @param {Transports} transports
 */
export function startTabs(t, url, transports) {
  const agent = startAgent(t, url, { keepAlive: true })
  return start(t, () => new SocketIoClient(url, transports, agent))
}

/**
 * @param {import('ava').ExecutionContext} t
 * @param {string} url
 * @param {http.AgentOptions & { localAddress?: string }} options
 */
function startAgent(t, url, options) {
  const agent = url.startsWith('https:') ? new https.Agent(options) : new http.Agent(options)
  const { reuseSocket } = agent
  agent.reuseSocket = (socket, request) => {
    reuseSocket.call(agent, socket, request)
    // If a server closes a reused connection, xmlhttprequest-ssl sends the request again, but never ends it, and the session hangs.
    // A request that does not know of the reuse fails instead, and the client connects again.
    request.reusedSocket = false
  }
  t.teardown(() => agent.destroy())
  return agent
}

/**
 * @param {import('ava').ExecutionContext} t
 * @param {(index: number) => SocketIoClient} startClient
 */
function start(t, startClient) {
  const clients = Array.from({ length: CLIENTS }, (_, index) => startClient(index))
  t.teardown(() => {
    for (const client of clients) client.close()
  })
  return clients
}
