import type { JoinedWorker } from '../worker/joined-worker.js'
import type { JoinedHandle } from '../worker/worker-handle.js'

/** What a share asks of the server. */
interface ShareSetup {
  /** Removes the path. */
  unshare: () => void
  /** Called when the path is removed and all workers that joined there have gone. */
  closed: () => void
}

/** A path at which programs join as workers. Made by {@link Server.share}. */
export class Share {
  /** Where: a path, or an abstract name behind a null byte. */
  readonly path: string
  readonly #drainTimeout: number
  readonly #workers = new Set<JoinedWorker>()
  readonly #setup: ShareSetup
  #closing: Promise<void> | undefined
  /** How long a worker has to finish, once it is closed. */
  #within: ((worker: JoinedHandle) => number) | undefined

  /** @internal */
  constructor(path: string, drainTimeout: number, setup: ShareSetup) {
    this.path = path
    this.#drainTimeout = drainTimeout
    this.#setup = setup
  }

  /** Those that have joined and have not gone, oldest first. */
  get workers(): readonly JoinedHandle[] {
    return [...this.#workers].filter(({ state }) => state === 'ready' || state === 'draining')
  }

  /**
   * Removes the path and retires those that have joined: they finish what they hold, for which they have `drainTimeout`, and
   * leave; then their channels are ended. Resolves when all have gone. Every call returns the same promise.
   */
  close(): Promise<void> {
    this.#closing ??= this.stop(() => this.#drainTimeout)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @internal */
  add(worker: JoinedWorker): void {
    this.#workers.add(worker)
    // It came in as the path was removed.
    if (this.#within !== undefined) worker.retire(this.#within(worker))
    void worker.exited.then(() => this.#workers.delete(worker))
  }

  /** @internal */
  async stop(within: (worker: JoinedHandle) => number): Promise<void> {
    this.#within = within
    this.#setup.unshare()
    for (const worker of this.#workers) worker.retire(within(worker))
    while (this.#workers.size > 0) await Promise.all(Array.from(this.#workers, ({ exited }) => exited))
    this.#setup.closed()
  }
}
