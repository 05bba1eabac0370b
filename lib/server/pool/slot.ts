import type { SupervisedWorker } from '../worker/supervised-worker.js'
import type { RestartDecision, RestartPolicy } from './restart-policy.js'
import { isShortage } from './shortage.js'

/** The settings of a slot, and the functions of the pool that the slot calls. */
export interface SlotSetup {
  /** Undefined: a worker that exits is not replaced. */
  policy: RestartPolicy | undefined
  drainTimeout: number
  /** Starts a worker for this slot, or throws. `failedToStart`: the previous worker exited before it was ready. */
  start: (restarts: number, failedToStart: boolean) => SupervisedWorker
  /** Called when the worker has exited, or could not be started, with this error and will be replaced after the delay. */
  restarting: (decision: RestartDecision, error: Error, failed: SupervisedWorker | undefined) => void
}

/**
 * One slot of a pool: a worker and, one after the other, its replacements.
 *
 *     empty --fill--> occupied --worker exits--> waiting --delay--> occupied
 *                     occupied --prepare--> successor starts --promote--> occupied by the successor
 *     any state --vacate--> vacated, which is final
 */
export class Slot {
  readonly #setup: SlotSetup
  #worker: SupervisedWorker | undefined
  #successor: SupervisedWorker | undefined
  #timer: NodeJS.Timeout | undefined
  #isVacated = false
  #isReferenced = true
  #restarts = 0
  /** Whether the previous worker exited before it was ready. */
  #failedToStart = false
  #replacing: Promise<void> | undefined

  constructor(setup: SlotSetup) {
    this.#setup = setup
  }

  /** The current worker; undefined between its exit and the start of the next. */
  get worker(): SupervisedWorker | undefined {
    return this.#worker
  }

  /** Whether the slot no longer belongs to the pool. */
  get isVacated(): boolean {
    return this.#isVacated
  }

  /** The pending `replace()`, if there is one. */
  get replacing(): Promise<void> | undefined {
    return this.#replacing
  }

  /** Whether a successor is starting, or is ready and waits for the rest of its generation. */
  get hasSuccessor(): boolean {
    return this.#successor !== undefined
  }

  /** Starts a worker unless one runs or is about to start. Throws the error of the start. */
  fill(): void {
    if (this.#worker !== undefined || this.#successor !== undefined || this.#timer !== undefined) return
    this.#worker = this.#start()
  }

  /** Starts a successor and waits until it is ready. Rejects if it does not become ready; then the current worker stays. */
  async prepare(): Promise<void> {
    if (this.#isVacated) return
    const successor = this.#start()
    this.#successor = successor
    try {
      await successor.connected
    } catch (error) {
      if (successor === this.#successor) this.abandon()
      throw error
    }
  }

  /** Replaces the worker by a successor. Rejects if the successor does not become ready; then the current worker stays. */
  replace(): Promise<void> {
    this.#replacing = this.#replace().finally(() => {
      this.#replacing = undefined
    })
    return this.#replacing
  }

  async #replace(): Promise<void> {
    await this.prepare()
    this.promote()?.retire(this.#setup.drainTimeout)
  }

  /** Makes the successor the current worker. Returns the previous worker, which the caller must retire. */
  promote(): SupervisedWorker | undefined {
    const old = this.#worker
    if (this.#successor === undefined) return undefined
    this.#stopWaiting()
    this.#worker = this.#successor
    this.#successor = undefined
    return old
  }

  /** Retires the successor, if there is one. */
  abandon(): void {
    const successor = this.#successor
    this.#successor = undefined
    // Not killed: a ready successor may hold connections already.
    successor?.retire(this.#setup.drainTimeout)
    // The current worker may have exited while its successor was starting.
    if (this.#worker === undefined && !this.#isVacated) this.#restartAfter(successor)
  }

  /** Vacates the slot. Returns its worker, which the caller must retire. */
  vacate(): SupervisedWorker | undefined {
    this.#isVacated = true
    this.#stopWaiting()
    this.abandon()
    const worker = this.#worker
    this.#worker = undefined
    return worker
  }

  /** Sets whether a pending restart keeps the process alive. */
  reference(isReferenced: boolean): void {
    this.#isReferenced = isReferenced
    if (isReferenced) this.#timer?.ref()
    else this.#timer?.unref()
  }

  #start(): SupervisedWorker {
    const worker = this.#setup.start(this.#restarts, this.#failedToStart)
    void worker.exited.then((exit) => {
      // Observing standard error needs descriptors, which are scarce in a shortage.
      this.#failedToStart = worker.uptime === undefined && !isShortage(worker.exitError(exit))
      if (worker === this.#successor) {
        // The successor was ready and waited for its generation. The reload finds the slot without a successor.
        this.abandon()
      } else if (worker === this.#worker) {
        this.#worker = undefined
        if (this.#successor === undefined) this.#restart(worker.exitError(exit), worker)
      }
    })
    return worker
  }

  /** Restarts the slot when its failed successor has exited. */
  #restartAfter(failed: SupervisedWorker | undefined): void {
    void failed?.exited.then((exit) => {
      if (this.#worker === undefined && !this.#isVacated) this.#restart(failed.exitError(exit), failed)
    })
  }

  #restart(error: Error, failed: SupervisedWorker | undefined): void {
    const { policy } = this.#setup
    const decision = isShortage(error)
      ? policy?.lackedResources(Math.random())
      : policy?.exited(failed?.uptime, Math.random())
    if (decision === undefined || this.#timer !== undefined) return
    this.#restarts += 1
    this.#setup.restarting(decision, error, failed)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      try {
        this.fill()
      } catch (failure) {
        // Most likely a shortage of processes or descriptors, which may end.
        this.#restart(failure instanceof Error ? failure : new Error(String(failure)), undefined)
      }
    }, decision.delay)
    if (!this.#isReferenced) this.#timer.unref()
  }

  #stopWaiting(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
