// Clients of socket.io that keep their session, and connect again if the session has ended.

import { setTimeout as delay } from 'node:timers/promises'
import { io } from 'socket.io-client'

/** Milliseconds within which every client must have an answer. */
const LIMIT = 20_000

/** @typedef {{ worker: number, generation: number }} Answer */
/** @typedef {readonly ('polling' | 'websocket')[]} Transports */

/** One client of socket.io. */
export class SocketIoClient {
  /** The number of failed attempts to connect. */
  failures = 0
  #socket

  /**
   * Starts to connect.
   *
   * @param {string} url
   * @param {Transports} transports
   * @param {import('node:http').Agent} agent
   * @param {number} timeout milliseconds after which an attempt to connect has failed
   */
  constructor(url, transports, agent, timeout = 20_000) {
    const options = {
      transports: [...transports],
      forceNew: true,
      reconnectionDelay: 50,
      reconnectionDelayMax: 500,
      rejectUnauthorized: false,
      agent,
      timeout,
    }
    this.#socket = io(url, options)
    this.#socket.on('connect_error', () => {
      this.failures += 1
    })
  }

  /**
   * Sends messages until an answer satisfies the condition, and returns the answer.
   *
   * @param {(answer: Answer) => boolean} isExpected
   * @returns {Promise<Answer>}
   */
  async answerOf(isExpected = () => true) {
    const end = performance.now() + LIMIT
    /** @type {unknown} */
    let last
    for (let serial = 0; performance.now() < end; serial++) {
      try {
        const answer = await this.#socket.timeout(2000).emitWithAck('echo', serial)
        if (answer.value !== serial) throw new Error(`the answer to ${serial} is ${answer.value}`)
        last = answer
        if (isExpected(answer)) return answer
      } catch (error) {
        last = error
      }
      await delay(20)
    }
    throw new Error(`the client has no expected answer: ${last instanceof Error ? last : JSON.stringify(last)}`)
  }

  get isConnected() {
    return this.#socket.connected
  }

  /** The id of the session. */
  get session() {
    return this.#socket.io.engine.id
  }

  close() {
    this.#socket.close()
  }
}
