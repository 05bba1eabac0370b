import type { ProcessHandle, WorkerHandle } from '../worker/worker-handle.js'
import type { ReloadOptions } from './reload.js'

/** The workers that one call of `fork()` or `threads()` started. The pool restarts workers that exit. */
export interface Pool<Handle extends WorkerHandle = ProcessHandle> {
  /**
   * Resolves when every worker that `fork()` or `threads()` started is ready. Rejects with
   * ERR_SOCKETSERVER_WORKER_EXITED or ERR_SOCKETSERVER_READY_TIMEOUT if the first start of a worker fails, although the pool
   * retries. If `ready` was not read by then, the server emits `error` instead.
   */
  readonly ready: Promise<void>
  /** The workers whose process or thread has not exited, oldest first. */
  readonly workers: readonly Handle[]
  /** The number of workers that the pool maintains. */
  readonly size: number
  /**
   * Changes the number of workers, 0 to 65535. When the pool grows, the promise resolves when the new workers are ready, and
   * rejects like `ready` if one does not become ready, which the server's `error` reports too. When the pool shrinks, the
   * workers of the highest slots are retired, so that slots are always 0 to n-1; the promise resolves when they have exited.
   * Rejects with ERR_SOCKETSERVER_CLOSED once the pool is closed.
   */
  resize(size: number): Promise<void>
  /**
   * Replaces every worker. Starts a new generation, waits until all of it is ready, then retires the old generation a few
   * workers at a time. Resolves when the old workers have finished their leases and exited.
   *
   * If a new worker does not become ready, the old workers keep serving and the promise rejects with the reason. Each reload looks
   * up the entry through the path as given, so a path through a link starts the release that the link names now. Calls during a
   * reload are combined into one further reload.
   */
  reload(options?: ReloadOptions): Promise<void>
  /** Retires all workers. Resolves when they have finished their leases and exited. */
  close(): Promise<void>
}
