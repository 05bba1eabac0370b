// Runs a peer as a child process.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { root } from '../../scripts/steps.mjs'
import { MeasurementError } from './measurement-error.mjs'

/** Milliseconds that a peer may take to start or to stop, beside the time for its workers. */
const TIMEOUT = 30_000
/** Milliseconds for the start of each worker. */
const START_TIMEOUT = 2000
/** Milliseconds to wait for the exit event of a process after a client's error. */
const EXIT_DELAY = 200

export class PeerProcess {
  /** @type {number} */
  port = 0
  /** @readonly */
  peer
  #child
  #errors = ''
  #lines
  #exit
  /** @type {(reason: MeasurementError) => void} */
  #fail = () => {}
  /** Rejects if the peer exits before it is stopped. */
  #failure = new Promise((/** @type {(nothing: never) => void} */ _, reject) => {
    this.#fail = reject
  })

  /**
   * Starts a peer. Resolves when all its workers are ready.
   *
   * @param {import('./peers.mjs').Peer} peer
   * @param {import('./options.mjs').Options} options
   */
  static async start(peer, options) {
    const port = peer.takesPort ? await freePort() : 0
    const started = new PeerProcess(peer, options, port)
    try {
      started.port = await started.during(started.#ready())
      if (peer.takesPort) await started.during(waitForListener(started.port))
      return started
    } catch (error) {
      await started.stop()
      throw error
    }
  }

  /**
   * @param {import('./peers.mjs').Peer} peer
   * @param {import('./options.mjs').Options} options
   * @param {number} port
   */
  constructor(peer, options, port) {
    this.peer = peer
    const { command, args } = peer.command(options, port)
    this.#child = spawn(command, args, { cwd: root, env: peer.env, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#lines = createInterface({ input: this.#child.stdout })
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#errors = (this.#errors + text).slice(-2000)
    })
    // Writing to a peer that has exited is not an error: `stop` does it.
    this.#child.stdin.on('error', () => {})
    this.#failure.catch(() => {})
    this.#exit = new Promise((/** @type {(nothing?: undefined) => void} */ resolve) => {
      this.#child.on('error', (error) => {
        this.#fail(new MeasurementError(`${peer.label} did not start: ${error.message}`))
        resolve()
      })
      this.#child.on('exit', (code, signal) => {
        this.#fail(
          new MeasurementError(`${peer.label} exited with ${signal ?? `exit code ${code}`}. ${this.#errors}`.trim()),
        )
        resolve()
      })
    })
  }

  /** The pid of the main process. */
  get pid() {
    return this.#child.pid ?? 0
  }

  /**
   * Settles as `action` does, or rejects as soon as the peer exits.
   *
   * @template T
   * @param {Promise<T>} action
   * @returns {Promise<T>}
   */
  async during(action) {
    try {
      return await Promise.race([action, this.#failure])
    } catch (error) {
      // The peer's exit explains more than the client error that it caused, but may be reported later.
      await Promise.race([this.#failure, wait(EXIT_DELAY)])
      throw error
    }
  }

  /**
   * Waits until a counter in the `stats()` of a socketserver peer has reached a value.
   *
   * @param {string} name
   * @param {number} value
   */
  async waitForStats(name, value) {
    for (;;) {
      this.#child.stdin.write('stats\n')
      if (Number(JSON.parse(await this.#line())[name]) >= value) return
      await wait(20)
    }
  }

  /** Stops the peer. Resolves when it has exited. */
  async stop() {
    this.#child.stdin.end()
    const exited = new AbortController()
    const kill = wait(TIMEOUT, undefined, { signal: exited.signal }).then(
      () => this.#child.kill('SIGKILL'),
      () => false,
    )
    await this.#exit
    exited.abort()
    await kill
  }

  async #ready() {
    return Number(JSON.parse(await this.#line(TIMEOUT + this.peer.workers * START_TIMEOUT)).port)
  }

  async #line(limit = TIMEOUT) {
    const timeout = AbortSignal.timeout(limit)
    try {
      const [line] = await once(this.#lines, 'line', { signal: timeout })
      return String(line)
    } catch (error) {
      if (!timeout.aborted) throw error
      throw new MeasurementError(`${this.peer.label} did not answer within ${limit / 1000} s. ${this.#errors}`.trim())
    }
  }
}

/** Returns a free port, for a program that does not report its port. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** @param {number} port */
async function waitForListener(port) {
  const deadline = performance.now() + TIMEOUT
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      socket.destroy()
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
      await wait(20)
    }
  }
}
