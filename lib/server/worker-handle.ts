// Runs in the PARENT: what it knows of one worker. The worker's own side is client/client.ts.

import type { ChildProcess } from 'node:child_process'
import { SocketServerError } from '../errors.js'
import type { NativeServer } from '../native.js'

/**
 * - `starting`: its process runs and has not connected yet.
 * - `ready`: it has connected and gets connections.
 * - `draining`: it gets no more; it finishes what it holds, or has left and its process has not exited yet.
 * - `exited`: its process is gone.
 */
export type WorkerState = 'starting' | 'ready' | 'draining' | 'exited'

/** One worker, seen from the parent. */
export interface WorkerHandle {
  /** Unique within its server, from 1. */
  readonly id: number
  /** Undefined if its process could not be started. */
  readonly pid: number | undefined
  /** Which start of its pool it belongs to, from 1. */
  readonly generation: number
  readonly state: WorkerState
  /** Connections it holds now. */
  readonly leases: number
  readonly process: ChildProcess
}

/** How a worker's process ended. */
export interface WorkerExit {
  code: number | null
  signal: NodeJS.Signals | null
}

export interface WorkerSetup {
  id: number
  generation: number
  entry: string
  channel: number
  child: ChildProcess
  native: NativeServer
  killTimeout: number
  /** Told of what is wrong with the process but does not end it. */
  report: (error: Error) => void
}

/**
 * The parent's handle on a worker process. Its life:
 *
 *     starting --joined--> ready --retire--> retiring --channel ends--> leaving --exit--> exited
 *         \------------------\--channel ends--> left --retire--> leaving
 *
 * `leaving` has `killTimeout` to exit; `left` may take its time, as nobody asked it to go. From everywhere an exit
 * leads to `exited`.
 */
export class ForkedWorker implements WorkerHandle {
  readonly id: number
  readonly generation: number
  readonly process: ChildProcess
  readonly channel: number
  /** Resolves when it has connected; rejects if it exits or is retired before. Never an unhandled rejection. */
  readonly connected: Promise<void>
  /** Resolves when its process is gone. */
  readonly exited: Promise<WorkerExit>
  readonly #setup: WorkerSetup
  #stage: 'starting' | 'ready' | 'retiring' | 'left' | 'leaving' | 'exited' = 'starting'
  #killer: NodeJS.Timeout | undefined
  #settleConnected: (error?: Error) => void = () => {}

  constructor(setup: WorkerSetup) {
    this.#setup = setup
    this.id = setup.id
    this.generation = setup.generation
    this.process = setup.child
    this.channel = setup.channel
    this.connected = new Promise((resolve, reject) => {
      this.#settleConnected = (error) => (error === undefined ? resolve() : reject(error))
    })
    this.connected.catch(() => {})
    this.exited = new Promise((resolve) => this.#watch(resolve))
  }

  get pid(): number | undefined {
    return this.process.pid
  }

  get state(): WorkerState {
    switch (this.#stage) {
      case 'starting':
      case 'ready':
      case 'exited':
        return this.#stage
      default:
        return 'draining'
    }
  }

  get leases(): number {
    return this.#setup.native.channelStats(this.channel)?.leases ?? 0
  }

  /** The native side says that it has connected. */
  joined(): void {
    if (this.#stage === 'starting') this.#stage = 'ready'
    this.#settleConnected()
  }

  /** The native side says that its channel is over. */
  channelEnded(): void {
    if (this.#stage === 'starting' || this.#stage === 'ready') this.#stage = 'left'
    else if (this.#stage === 'retiring') this.#leave()
  }

  /** Gives it no more connections and has it leave when it has finished those it holds, however long that takes. */
  retire(): void {
    if (this.#stage === 'left') this.#leave()
    if (this.#stage !== 'starting' && this.#stage !== 'ready') return
    // One that has not connected holds nothing, and may never get to read that it is to leave.
    const isStarting = this.#stage === 'starting'
    this.#stage = 'retiring'
    this.#setup.native.retire(this.channel)
    if (isStarting) this.killSoon()
  }

  /** Gives its process `killTimeout` to exit, then SIGTERM, and after as long again SIGKILL. */
  killSoon(): void {
    if (this.#killer !== undefined || this.#stage === 'exited') return
    const { killTimeout } = this.#setup
    // Not held by these timers: while the process is there, its own handle keeps the loop alive.
    this.#killer = setTimeout(() => {
      this.process.kill('SIGTERM')
      this.#killer = setTimeout(() => this.process.kill('SIGKILL'), killTimeout).unref()
    }, killTimeout).unref()
  }

  /** Ends its process now. */
  kill(): void {
    if (this.#stage === 'exited') return
    this.#stage = 'leaving'
    this.process.kill('SIGKILL')
  }

  ref(): void {
    this.process.ref()
    this.process.channel?.ref()
  }

  unref(): void {
    this.process.unref()
    this.process.channel?.unref()
  }

  #leave(): void {
    this.#stage = 'leaving'
    // A worker that listens to messages from its parent would otherwise be kept alive by that alone.
    if (this.process.connected) this.process.disconnect()
    this.killSoon()
  }

  #watch(resolve: (exit: WorkerExit) => void): void {
    this.process.once('exit', (code, signal) => {
      this.#gone({ code, signal })
      resolve({ code, signal })
    })
    this.process.on('error', (error) => {
      // Without a pid it was never started, and there will be no 'exit'.
      if (this.pid !== undefined) {
        this.#setup.report(error)
        return
      }
      this.#gone({ code: null, signal: null }, error)
      resolve({ code: null, signal: null })
    })
  }

  #gone({ code, signal }: WorkerExit, cause?: Error): void {
    const wasAsked = this.#stage === 'retiring' || this.#stage === 'leaving'
    this.#stage = 'exited'
    clearTimeout(this.#killer)
    this.#settleConnected(wasAsked ? this.#retiredError() : this.#exitError(code, signal, cause))
    this.#endChannelLater()
  }

  /**
   * A grandchild that inherited the channel before `connect()` had set CLOEXEC on it keeps it from reaching EOF.
   * Not at once: what the worker has acknowledged may still be unread, and would be served a second time.
   */
  #endChannelLater(): void {
    setTimeout(() => this.#setup.native.endChannel(this.channel), EOF_GRACE).unref()
  }

  #retiredError(): SocketServerError {
    return new SocketServerError(
      'ERR_SOCKETSERVER_CLOSED',
      `Worker ${this.id} was told to leave before it had connected`,
      {
        pid: this.pid,
      },
    )
  }

  #exitError(code: number | null, signal: NodeJS.Signals | null, cause?: Error): SocketServerError {
    const { entry } = this.#setup
    const how = signal === null ? `exited with code ${code}` : `was ended by ${signal}`
    const message =
      cause === undefined
        ? `Worker ${this.id} (${entry}, pid ${this.pid}) ${how} before it had connected`
        : `Worker ${this.id} (${entry}) could not be started: ${cause.message}`
    return new SocketServerError('ERR_SOCKETSERVER_WORKER_EXITED', message, { pid: this.pid, cause })
  }
}

/** Milliseconds in which the native side reads what a dead worker had still written; it takes microseconds. */
const EOF_GRACE = 1000
