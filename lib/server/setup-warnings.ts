// Warns once about a server that cannot serve clients: it has workers and no listener, or a listener and no workers.

/** The state of the server that the check reads. */
export interface SetupState {
  /** Whether a listener has been opened. */
  hasListener: () => boolean
  /** Whether a pool has been started or a path shared. */
  hasWorkers: () => boolean
  /** Whether a worker is ready and none is starting. A parent may call `listen()` only after that. */
  isReady: () => boolean
  /** The number of connections that wait for a worker. */
  queued: () => number
}

/** Checks once a second, while listener or workers are missing. Never keeps the process alive. */
export class SetupWarnings {
  readonly #state: SetupState
  #timer: NodeJS.Timeout | undefined
  #seconds = 0
  #hasWarned = false

  constructor(state: SetupState) {
    this.#state = state
  }

  /** Starts or stops the check after a listener or workers have been added. */
  update(): void {
    const isComplete = this.#state.hasListener() && this.#state.hasWorkers()
    if (isComplete) this.stop()
    else if (!this.#hasWarned) this.#timer ??= setInterval(() => this.#check(), 1000).unref()
  }

  /** Stops the check. */
  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #check(): void {
    const isMissing = this.#state.hasListener() ? this.#state.queued() > 0 : this.#state.isReady()
    this.#seconds = isMissing ? this.#seconds + 1 : 0
    if (this.#seconds < WARN_AFTER || this.#hasWarned) return
    this.#hasWarned = true
    this.stop()
    const [message, code] = this.#state.hasListener()
      ? [
          `A connection has waited for ${WARN_AFTER} s, and the server has no workers: call fork(), threads() or share()`,
          'SOCKETSERVER_NO_WORKERS',
        ]
      : [
          `Workers have been ready for ${WARN_AFTER} s, and the server has no listener: call listen()`,
          'SOCKETSERVER_NO_LISTENER',
        ]
    process.emitWarning(message, { type: 'SocketServerWarning', code })
  }
}

/** Seconds. */
const WARN_AFTER = 5
