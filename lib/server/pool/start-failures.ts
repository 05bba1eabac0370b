import { SocketServerError } from '../../errors.js'
import type { RestartDecision, RestartSettings } from './restart-policy.js'
import { isShortage } from './shortage.js'

/** The properties of a worker that the reports use. */
interface StartedWorker {
  readonly uptime: number | undefined
  readonly restarts: number
}

/** The parts of a pool that the reports use. */
export interface StartFailuresSetup {
  entry: string
  restart: RestartSettings | undefined
  /** Returns the running workers. */
  workers: () => readonly StartedWorker[]
  report: (error: Error) => void
}

/** Reports the failed starts of a pool: each crash loop and each shortage once, and other failures for which no promise is pending. */
export class StartFailures {
  readonly #setup: StartFailuresSetup
  /** When the current crash loop was reported; undefined outside a crash loop. */
  #crashLoopSince: number | undefined
  /** When a start last failed because of a shortage. */
  #shortageAt = Number.NEGATIVE_INFINITY

  constructor(setup: StartFailuresSetup) {
    this.#setup = setup
  }

  /** Called when a worker has exited, or could not be started, with this error and will be replaced. */
  restarting(decision: RestartDecision, error: Error, failed: StartedWorker | undefined): void {
    this.#endCrashLoop()
    if (this.#crashLoopSince !== undefined) return
    if (isShortage(error) && this.#isSameShortage()) return
    if (decision.isCrashLoop) {
      this.#crashLoopSince = performance.now()
      this.#setup.report(this.#crashLoopError(decision, error))
    } else if (failed === undefined || (failed.uptime === undefined && failed.restarts > 0)) {
      // A failed first start rejects the promise of the call that started the worker.
      this.#setup.report(error)
    }
  }

  /** Records a shortage. Returns whether it continues an earlier one, which was reported. */
  #isSameShortage(): boolean {
    const before = this.#shortageAt
    this.#shortageAt = performance.now()
    return this.#shortageAt - before < SHORTAGE_EPISODE
  }

  /** Ends the crash loop if a worker that started after its report has been ready for `minUptime`. */
  #endCrashLoop(): void {
    const since = this.#crashLoopSince
    const minUptime = this.#setup.restart?.minUptime ?? 0
    if (since === undefined) return
    const lasted = performance.now() - since
    const isOver = this.#setup
      .workers()
      .some(({ uptime }) => uptime !== undefined && uptime >= minUptime && uptime < lasted)
    if (isOver) this.#crashLoopSince = undefined
  }

  #crashLoopError({ failures }: RestartDecision, cause: Error): SocketServerError {
    const { minUptime = 0, maxDelay = 0 } = this.#setup.restart ?? {}
    return new SocketServerError(
      'ERR_SOCKETSERVER_CRASH_LOOP',
      `A worker of ${this.#setup.entry} has exited ${failures} times in a row before it was ready or within ${minUptime} ms after. ` +
        `It is restarted every ${maxDelay} ms. The last error: ${cause.message}`,
      { cause },
    )
  }
}

/** Milliseconds without a failed start after which a shortage is reported again. In a shortage each slot retries every second. */
const SHORTAGE_EPISODE = 10_000
