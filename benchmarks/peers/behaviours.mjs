// The connection handlers. All peers use the same ones, so that peers differ only in how a connection reaches a worker.
// socketserver-load expects the answer '<worker> <token>'.

import { setTimeout as wait } from 'node:timers/promises'
import { threadId } from 'node:worker_threads'
import { record, serviceTime } from './service.mjs'

/** Identifies this worker in its answers. */
const name = threadId === 0 ? `${process.pid}` : `${process.pid}.${threadId}`

/** @typedef {import('node:net').Socket} Socket */

export const behaviours = {
  /**
   * Reads a line, answers it, and closes the connection.
   *
   * @param {Socket} socket
   */
  short(socket) {
    socket.on('error', ignore)
    socket.once('data', (line) => socket.end(`${name} ${line}`))
  },

  /**
   * Reads the head of an HTTP request and a line, which arrive together, answers the line, and closes the connection.
   *
   * @param {Socket} socket
   */
  head(socket) {
    socket.on('error', ignore)
    socket.once('data', (data) => socket.end(`${name} ${data.subarray(data.lastIndexOf('\r\n') + 2)}`))
  },

  /**
   * Reads a line and answers it. The client closes the connection.
   *
   * @param {Socket} socket
   */
  hold(socket) {
    socket.on('error', ignore)
    socket.once('data', (line) => socket.write(`${name} ${line}`))
  },

  /**
   * Reads a line, waits for the service time of its token, answers, and closes. Resolves when the answer is written.
   *
   * @param {Socket} socket
   */
  async service(socket) {
    socket.on('error', ignore)
    const line = await firstLine(socket)
    if (line === undefined) return
    const start = performance.now()
    await wait(serviceTime(line))
    record(line, performance.now() - start)
    socket.end(`${name} ${line}`)
  },

  /**
   * Answers a request whose body is the token.
   *
   * @param {import('node:http').IncomingMessage} request
   * @param {import('node:http').ServerResponse} response
   */
  http(request, response) {
    let body = ''
    request.setEncoding('utf8').on('data', (text) => {
      body += text
    })
    request.on('end', () => {
      const answer = `${name} ${body}`
      response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': Buffer.byteLength(answer) })
      response.end(answer)
    })
  },
}

/**
 * Returns a connection listener that serves one connection at a time. Other connections wait in this worker.
 *
 * @param {(socket: Socket) => Promise<void>} serve
 */
export function oneByOne(serve) {
  let last = Promise.resolve()
  return (/** @type {Socket} */ socket) => {
    last = last.then(() => serve(socket))
  }
}

/** @param {Socket} socket */
async function firstLine(socket) {
  const line = socket.read()
  if (line !== null) return String(line)
  return await new Promise((/** @type {(line: string | undefined) => void} */ resolve) => {
    socket.once('data', (data) => resolve(String(data)))
    socket.once('close', () => resolve(undefined))
  })
}

/** Ignores a reset: the load generator reports it. */
function ignore() {}
