import { setTimeout as delay } from 'node:timers/promises'

/** Clients at the start. */
const CLIENTS = 4

/** The most clients: several kept connections may all be those of one worker. */
const MOST_CLIENTS = 40

/**
 * @typedef {object} Client
 * @property {() => Promise<string>} ask Returns the name of the worker that has answered.
 * @property {() => void} close
 */

/** Clients that send requests until they are stopped. Records the workers that answered and the requests that failed. */
export class Load {
  /** The names of the workers that have answered. */
  workers = new Set()
  answers = 0
  /** @type {unknown[]} */
  failures = []
  #isOver = false
  #connect
  /** @type {Promise<void>[]} */
  #clients = []

  /** @param {() => Client} connect */
  constructor(connect) {
    this.#connect = connect
    for (let i = 0; i < CLIENTS; i++) this.#add()
  }

  /**
   * Waits until this many workers have answered since the start, or a request has failed. Adds clients meanwhile.
   *
   * @param {number} workers
   */
  async untilAnsweredBy(workers) {
    const end = performance.now() + 20_000
    for (let turn = 1; this.workers.size < workers && this.failures.length === 0; turn++) {
      if (performance.now() > end) throw new Error(`only ${[...this.workers]} answered`)
      await delay(10)
      if (turn % 20 === 0 && this.#clients.length < MOST_CLIENTS) this.#add()
    }
  }

  /** Ends the load and waits for the pending answers. */
  async stop() {
    this.#isOver = true
    await Promise.all(this.#clients)
  }

  #add() {
    this.#clients.push(this.#ask(this.#connect()))
  }

  /** @param {Client} client */
  async #ask(client) {
    while (!this.#isOver) {
      try {
        const worker = await client.ask()
        if (!/^\d+\.\d+$/.test(worker)) throw new Error(`the answer is ${worker}`)
        this.workers.add(worker)
        this.answers += 1
      } catch (error) {
        this.failures.push(error)
      }
      // Also leaves time to the app: the machine may have one core.
      await delay(2)
    }
    client.close()
  }
}
