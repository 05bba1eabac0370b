// Tells once of a server that can serve nobody: it has workers and no listener, or a listener and no workers.

/** What the check looks at. */
export interface SetupState {
  /** Whether a listener has been opened. */
  hasListener: () => boolean
  /** Whether a pool has been started or a path shared. */
  hasWorkers: () => boolean
  /** Whether a worker is ready, and none is still starting: before that a parent may wait with `listen()`. */
  isReady: () => boolean
  /** Connections that wait for a worker. */
  queued: () => number
}

/** Looks once a second, only while one of the two sides is missing, and never keeps the process alive. */
export class SetupWarnings {
  readonly #state: SetupState
  #timer: NodeJS.Timeout | undefined
  #seconds = 0
  #hasWarned = false

  constructor(state: SetupState) {
    this.#state = state
  }

  /** Starts or stops looking: a listener or workers have been added. */
  update(): void {
    const isComplete = this.#state.hasListener() && this.#state.hasWorkers()
    if (isComplete) this.stop()
    else if (!this.#hasWarned) this.#timer ??= setInterval(() => this.#look(), 1000).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    const isMissed = this.#state.hasListener() ? this.#state.queued() > 0 : this.#state.isReady()
    this.#seconds = isMissed ? this.#seconds + 1 : 0
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

const WARN_AFTER = 5
