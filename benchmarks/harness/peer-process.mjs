// A running peer.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { root } from '../../scripts/steps.mjs'
import { Unmeasured } from './unmeasured.mjs'

/** Milliseconds that a peer may take to start its workers, and to end. */
const PATIENCE = 30_000
/** Milliseconds after which a process that has died is known to have. */
const SETTLED = 200

export class PeerProcess {
  /** @type {number} */
  port = 0
  /** @readonly */
  peer
  #child
  #errors = ''
  #lines
  #exit
  /** @type {(reason: Unmeasured) => void} */
  #fail = () => {}
  /** Rejects if the peer ends before it is stopped. */
  #failure = new Promise((/** @type {(nothing: never) => void} */ _, reject) => {
    this.#fail = reject
  })

  /**
   * Starts a peer and resolves when all its workers serve.
   *
   * @param {import('./peer.mjs').Peer} peer
   * @param {import('./options.mjs').Options} options
   */
  static async start(peer, options) {
    const wanted = peer.takesPort ? await freePort() : 0
    const started = new PeerProcess(peer, options, wanted)
    try {
      started.port = await started.during(started.#ready())
      if (peer.takesPort) await started.during(listening(started.port))
      return started
    } catch (error) {
      await started.stop()
      throw error
    }
  }

  /**
   * @param {import('./peer.mjs').Peer} peer
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
    // Written to only by its end, which may come after the peer's.
    this.#child.stdin.on('error', () => {})
    this.#failure.catch(() => {})
    this.#exit = new Promise((/** @type {(nothing?: undefined) => void} */ resolve) => {
      this.#child.on('error', (error) => {
        this.#fail(new Unmeasured(`${peer.label} could not be started: ${error.message}`))
        resolve()
      })
      this.#child.on('exit', (code, signal) => {
        this.#fail(new Unmeasured(`${peer.label} ended with ${signal ?? `exit code ${code}`}. ${this.#errors}`.trim()))
        resolve()
      })
    })
  }

  /** Its main process. */
  get pid() {
    return this.#child.pid ?? 0
  }

  /**
   * Resolves as `action` does, or rejects as soon as the peer dies.
   *
   * @template T
   * @param {Promise<T>} action
   * @returns {Promise<T>}
   */
  async during(action) {
    try {
      return await Promise.race([action, this.#failure])
    } catch (error) {
      // That the peer has died says more than what its clients saw of it, which may be known first.
      await Promise.race([this.#failure, wait(SETTLED)])
      throw error
    }
  }

  /**
   * A counter of ours, once it has reached a value.
   *
   * @param {string} name
   * @param {number} value
   */
  async stats(name, value) {
    for (;;) {
      this.#child.stdin.write('stats\n')
      if (Number(JSON.parse(await this.#line())[name]) >= value) return
      await wait(20)
    }
  }

  /** Ends it, and resolves when it has. */
  async stop() {
    this.#child.stdin.end()
    const late = new AbortController()
    const kill = wait(PATIENCE, undefined, { signal: late.signal }).then(
      () => this.#child.kill('SIGKILL'),
      () => false,
    )
    await this.#exit
    late.abort()
    await kill
  }

  async #ready() {
    return Number(JSON.parse(await this.#line()).port)
  }

  async #line() {
    const silence = AbortSignal.timeout(PATIENCE)
    try {
      const [line] = await once(this.#lines, 'line', { signal: silence })
      return String(line)
    } catch (error) {
      if (!silence.aborted) throw error
      throw new Unmeasured(`${this.peer.label} has said nothing for ${PATIENCE / 1000} s. ${this.#errors}`.trim())
    }
  }
}

/** A port that nobody listens on, for a program that cannot be asked which one it got. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** @param {number} port */
async function listening(port) {
  const deadline = performance.now() + PATIENCE
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
