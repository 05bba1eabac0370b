// HTTP clients that count the requests without an answer.

import { Agent, request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

/** Milliseconds without an answer after which a request is lost. */
const TIMEOUT = 5000

/**
 * Sends one request and returns the process id in the answer.
 *
 * @param {number} port
 * @param {string} path
 * @param {{ agent?: Agent | false, localAddress?: string }} [options]
 * @returns {Promise<number>}
 */
export function ask(port, path, options = {}) {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, agent: false, timeout: TIMEOUT, ...options })
    sent.on('timeout', () => sent.destroy(new Error('no answer')))
    sent.on('error', reject)
    sent.on('response', (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text) => {
        body += text
      })
      response.on('error', reject)
      response.on('end', () => {
        if (response.statusCode === 200) resolve(Number.parseInt(body, 10))
        else reject(new Error(`status ${response.statusCode}`))
      })
    })
    sent.end()
  })
}

/** Clients that send requests in a loop: some on a new connection each, some on a connection that is kept. */
export class Clients {
  answered = 0
  /** The requests without an answer, by the kind of connection. */
  lost = { fresh: 0, kept: 0 }
  /** When each process has answered first and last, in milliseconds. @type {Map<number, { first: number, last: number }>} */
  seen = new Map()
  #isOver = false
  /** @type {Promise<unknown>} */
  #ends

  /**
   * @param {number} port
   * @param {{ fresh: number, kept: number }} counts
   */
  constructor(port, counts) {
    const fresh = Array.from({ length: counts.fresh }, (_, index) => this.#run(port, index, 'fresh'))
    const kept = Array.from({ length: counts.kept }, (_, index) => this.#run(port, index, 'kept'))
    this.#ends = Promise.all([...fresh, ...kept])
  }

  /** Waits for the pending requests. */
  async stop() {
    this.#isOver = true
    await this.#ends
  }

  /**
   * Returns the processes that have answered since a time, the one that has run longest first.
   *
   * @param {number} time
   */
  since(time) {
    const recent = [...this.seen].filter(([, { last }]) => last > time)
    return recent.sort(([, a], [, b]) => a.first - b.first).map(([pid]) => pid)
  }

  /**
   * @param {number} port
   * @param {number} index
   * @param {'fresh' | 'kept'} kind
   */
  async #run(port, index, kind) {
    const agent = kind === 'kept' ? new Agent({ keepAlive: true, maxSockets: 1 }) : /** @type {const} */ (false)
    // Several source addresses, so that a long run does not run out of ports. macOS has only 127.0.0.1.
    const localAddress = process.platform === 'linux' ? `127.0.0.${2 + (index % 8)}` : '127.0.0.1'
    while (!this.#isOver) {
      try {
        const pid = await ask(port, '/slow', { agent, localAddress })
        this.answered += 1
        const now = performance.now()
        this.seen.set(pid, { first: this.seen.get(pid)?.first ?? now, last: now })
      } catch {
        this.lost[kind] += 1
      }
      await delay(2)
    }
    if (agent !== false) agent.destroy()
  }
}
