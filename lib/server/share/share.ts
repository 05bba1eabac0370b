import type { JoinedWorker } from '../worker/joined-worker.js'
import type { JoinedHandle } from '../worker/worker-handle.js'

/** The functions of the server that a share calls. */
interface ShareSetup {
  /** Removes the path. */
  unshare: () => void
  /** Called when the path is removed and every worker that joined there has exited. */
  closed: () => void
}

/** A path at which programs join as workers. Made by {@link Server.share}. */
export class Share {
  /** The shared path; an abstract name begins with a null byte. */
  readonly path: string
  readonly #drainTimeout: number
  readonly #workers = new Set<JoinedWorker>()
  readonly #setup: ShareSetup
  #closing: Promise<void> | undefined
  /** The milliseconds that a worker has to finish its leases; undefined until the share closes. */
  #within: ((worker: JoinedHandle) => number) | undefined

  /** @internal */
  constructor(path: string, drainTimeout: number, setup: ShareSetup) {
    this.path = path
    this.#drainTimeout = drainTimeout
    this.#setup = setup
  }

  /** The workers that have joined here and not exited, oldest first. */
  get workers(): readonly JoinedHandle[] {
    return [...this.#workers].filter(({ state }) => state === 'ready' || state === 'draining')
  }

  /**
   * Removes the path and retires the workers that joined here. They have `drainTimeout` to finish their leases and leave; then
   * the server ends their channels. Resolves when all have exited. Every call returns the same promise.
   */
  close(): Promise<void> {
    this.#closing ??= this.stop(() => this.#drainTimeout)
    return this.#closing
  }

  /** Closes the share at the end of an `await using` block. The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @internal */
  add(worker: JoinedWorker): void {
    this.#workers.add(worker)
    // The worker was admitted while the path was being removed.
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
