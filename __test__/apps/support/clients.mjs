// A client for each kind of app. Each returns functions that make one client of a port.

import { connect as connectHttp2 } from 'node:http2'
import { Agent, request } from 'node:https'
import { text } from 'node:stream/consumers'
import { createTRPCClient, httpLink } from '@trpc/client'
import { io } from 'socket.io-client'
import { WebSocket } from 'ws'

const LIMIT = 15_000

/** @typedef {import('./load.mjs').Client} Client */

/**
 * `fetch`, on connections that are kept.
 *
 * @param {string} path
 * @param {RegExp} [pattern] the worker in the body
 */
export const http =
  (path = '/', pattern = /^(.*)$/) =>
  (/** @type {number} */ port) =>
  () => ({
    async ask() {
      const response = await fetch(`http://localhost:${port}${path}`, { signal: AbortSignal.timeout(LIMIT) })
      if (response.status !== 200) throw new Error(`status ${response.status}`)
      const body = await response.text()
      return pattern.exec(body)?.[1] ?? body
    },
    close() {},
  })

/** `fetch` with a body that the app must return. */
export const httpPost = (/** @type {number} */ port) => () => {
  let serial = 0
  return {
    async ask() {
      serial += 1
      const response = await fetch(`http://localhost:${port}/echo`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ serial }),
        signal: AbortSignal.timeout(LIMIT),
      })
      const body = await response.json()
      if (body.serial !== serial) throw new Error(`the answer to ${serial} is ${JSON.stringify(body)}`)
      return body.worker
    },
    close() {},
  }
}

export const graphql = (/** @type {number} */ port) => () => ({
  async ask() {
    const response = await fetch(`http://localhost:${port}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: '{ worker }' }),
      signal: AbortSignal.timeout(LIMIT),
    })
    return (await response.json()).data.worker
  },
  close() {},
})

export const trpc = (/** @type {number} */ port) => () => {
  const client = createTRPCClient({ links: [httpLink({ url: `http://localhost:${port}` })] })
  return {
    ask: async () => await client.worker.query(undefined, { signal: AbortSignal.timeout(LIMIT) }),
    close() {},
  }
}

/** WebSockets of one message each: an open one ends with its worker. */
export const ws = (/** @type {number} */ port) => () => ({
  ask: () =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://localhost:${port}`, { handshakeTimeout: LIMIT })
      socket.on('open', () => socket.send('worker'))
      socket.on('message', (message) => {
        socket.close()
        resolve(String(message))
      })
      socket.on('close', (code) => reject(new Error(`closed without an answer, code ${code}`)))
      socket.on('error', reject)
    }),
  close() {},
})

/** A client that stays connected: it connects again by itself, and sends again what has no answer. */
export const socketIo = (/** @type {number} */ port) => () => {
  const socket = io(`http://localhost:${port}`, {
    transports: ['websocket'],
    forceNew: true,
    reconnectionDelay: 10,
    ackTimeout: 2000,
    retries: 5,
  })
  return { ask: async () => await socket.emitWithAck('worker'), close: () => socket.close() }
}

/** HTTPS with a name, on connections that are kept. Two clients of the two names take turns. */
export const httpsWithName = (/** @type {number} */ port) => {
  let count = 0
  return () => {
    const name = count++ % 2 === 0 ? 'one.test' : 'two.test'
    // Without sessions: the client of a resumed one does not know the certificate.
    const tls = { rejectUnauthorized: false, servername: name, maxCachedSessions: 0 }
    const agent = new Agent({ ...tls, keepAlive: true, maxSockets: 1 })
    return {
      ask: () => askAgain(() => askByHttps({ port, agent, servername: name }, name)),
      close: () => agent.destroy(),
    }
  }
}

/**
 * Sends a request once more if a kept connection has ended under it, as Node's documentation of `reusedSocket` asks for.
 *
 * @param {() => Promise<string>} ask
 */
async function askAgain(ask) {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof ReusedConnectionEnded)) throw error
    return await ask()
  }
}

class ReusedConnectionEnded extends Error {}

/**
 * @param {import('node:https').RequestOptions} options
 * @param {string} name
 * @returns {Promise<string>}
 */
function askByHttps(options, name) {
  return new Promise((resolve, reject) => {
    const sent = request({ host: 'localhost', timeout: LIMIT, ...options }, (response) => {
      const { subject } = response.socket.getPeerCertificate()
      if (subject?.CN !== name) reject(new Error(`the certificate of ${subject?.CN} for ${name}`))
      resolve(text(response))
    })
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')))
    sent.on('error', (error) => {
      const isEnded = sent.reusedSocket && 'code' in error && error.code === 'ECONNRESET'
      reject(isEnded ? new ReusedConnectionEnded('', { cause: error }) : error)
    })
    sent.end()
  })
}

/**
 * One session until GOAWAY, then the next. A request that crosses GOAWAY is refused, and sent again (RFC 9113, 8.7): Node leaves that
 * to the application.
 */
export const http2 = (/** @type {number} */ port) => () => {
  /** @type {import('node:http2').ClientHttp2Session | undefined} */
  let session
  const connected = () => {
    if (session !== undefined && !session.closed && !session.destroyed) return session
    const next = connectHttp2(`https://localhost:${port}`, { rejectUnauthorized: false })
    next.on('goaway', () => next.close())
    next.on('error', () => {})
    session = next
    return next
  }
  return {
    async ask() {
      // At most once for each worker that is replaced.
      for (let attempt = 1; ; attempt++) {
        const stream = connected().request({ ':path': '/' })
        stream.setTimeout(LIMIT, () => stream.destroy(new Error('no answer in time')))
        try {
          return await text(stream)
        } catch (error) {
          if (attempt > 2 || !(error instanceof Error && error.message.includes('REFUSED_STREAM'))) throw error
        }
      }
    },
    close: () => session?.close(),
  }
}
