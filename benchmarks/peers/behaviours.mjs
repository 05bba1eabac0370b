// What is done with a connection: the same code in every peer, so that a difference between two of them is a difference
// in how the connection got there. An answer is '<worker> <token>', as socketserver-load expects.

import { setTimeout as wait } from 'node:timers/promises'
import { threadId } from 'node:worker_threads'
import { record, serviceTime } from './service.mjs'

/** Names this worker in its answers. */
const name = threadId === 0 ? `${process.pid}` : `${process.pid}.${threadId}`

/** @typedef {import('node:net').Socket} Socket */

export const behaviours = {
  /**
   * A line, its answer, the end.
   *
   * @param {Socket} socket
   */
  short(socket) {
    socket.on('error', ignore)
    socket.once('data', (line) => socket.end(`${name} ${line}`))
  },

  /**
   * A line and its answer; the connection stays open until the client ends it.
   *
   * @param {Socket} socket
   */
  hold(socket) {
    socket.on('error', ignore)
    socket.once('data', (line) => socket.write(`${name} ${line}`))
  },

  /**
   * A line, a wait as long as its token says, its answer, the end. Resolves when the answer is given.
   *
   * @param {Socket} socket
   */
  async service(socket) {
    socket.on('error', ignore)
    const line = await firstLine(socket)
    if (line === undefined) return
    const began = performance.now()
    await wait(serviceTime(line))
    record(line, performance.now() - began)
    socket.end(`${name} ${line}`)
  },

  /**
   * A request whose body is the token.
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
 * The same, for one connection after the other: what comes meanwhile waits in this worker, as it does in any program
 * that has work for one at a time and is given more.
 *
 * @param {(socket: Socket) => Promise<void>} serve
 */
export function inTurn(serve) {
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

/** A client that resets is seen by the load generator, which judges it. */
function ignore() {}
