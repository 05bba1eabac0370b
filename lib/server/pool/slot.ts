import type { SupervisedWorker } from '../worker/supervised-worker.js'
import type { RestartDecision, RestartPolicy } from './restart-policy.js'
import { isShortage } from './shortage.js'

export interface SlotSetup {
  /** Undefined: a worker that exits is not replaced. */
  policy: RestartPolicy | undefined
  drainTimeout: number
  /** Starts a worker for this slot, or throws. `isSuspect`: the last one did not get ready. */
  start: (restarts: number, isSuspect: boolean) => SupervisedWorker
  /** The worker that was here has exited, or could not be started, with this error; another will be, after the delay. */
  restarting: (decision: RestartDecision, error: Error, failed: SupervisedWorker | undefined) => void
}

/**
 * One slot of a pool: a worker and, one after the other, its replacements.
 *
 *     empty --fill--> occupied --its worker exits--> waiting --delay--> occupied
 *                     occupied --prepare--> a successor starts --succeed--> occupied, by the successor
 *     vacated, from everywhere, is the end.
 */
export class Slot {
  readonly #setup: SlotSetup
  #worker: SupervisedWorker | undefined
  #successor: SupervisedWorker | undefined
  #timer: NodeJS.Timeout | undefined
  #isVacated = false
  #isReferenced = true
  #restarts = 0
  /** Whether the worker that was started here last has exited without having been ready. */
  #isSuspect = false
  #change: Promise<void> | undefined

  constructor(setup: SlotSetup) {
    this.#setup = setup
  }

  /** The worker that is here now; undefined between its end and the start of the next. */
  get worker(): SupervisedWorker | undefined {
    return this.#worker
  }

  get isVacated(): boolean {
    return this.#isVacated
  }

  /** The replacement under way, if there is one. */
  get change(): Promise<void> | undefined {
    return this.#change
  }

  /** Whether a successor is starting, or waits for the others. */
  get isChanging(): boolean {
    return this.#successor !== undefined
  }

  get restarts(): number {
    return this.#restarts
  }

  /** Starts a worker here if there is none and none is coming. Throws what starting throws. */
  fill(): void {
    if (this.#worker !== undefined || this.#successor !== undefined || this.#timer !== undefined) return
    this.#worker = this.#start()
  }

  /** Starts a worker that is to take over. Rejects, with the slot as it was, if it does not become ready. */
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

  /** Prepares a successor and lets it take over at once. Rejects, with the slot as it was, if that does not get ready. */
  replace(): Promise<void> {
    this.#change = this.#replace().finally(() => {
      this.#change = undefined
    })
    return this.#change
  }

  async #replace(): Promise<void> {
    await this.prepare()
    this.succeed()?.retire(this.#setup.drainTimeout)
  }

  /** Lets the successor take over, and returns the worker that was here and is to be retired by the caller. */
  succeed(): SupervisedWorker | undefined {
    const old = this.#worker
    if (this.#successor === undefined) return undefined
    this.#stopWaiting()
    this.#worker = this.#successor
    this.#successor = undefined
    return old
  }

  /** Has the successor go, if there is one. */
  abandon(): void {
    const successor = this.#successor
    this.#successor = undefined
    // Not killed: ready and waiting for the others, it may hold connections already.
    successor?.retire(this.#setup.drainTimeout)
    // The worker here may have exited while its successor was to come.
    if (this.#worker === undefined && !this.#isVacated) this.#again(successor)
  }

  /** Gives the slot up, and returns the worker that was here and is to be retired by the caller. */
  vacate(): SupervisedWorker | undefined {
    this.#isVacated = true
    this.#stopWaiting()
    this.abandon()
    const worker = this.#worker
    this.#worker = undefined
    return worker
  }

  reference(isReferenced: boolean): void {
    this.#isReferenced = isReferenced
    if (isReferenced) this.#timer?.ref()
    else this.#timer?.unref()
  }

  #start(): SupervisedWorker {
    const worker = this.#setup.start(this.#restarts, this.#isSuspect)
    void worker.exited.then((exit) => {
      // To be observed costs descriptors, which is of no use to a worker that lacked them.
      this.#isSuspect = worker.uptime === undefined && !isShortage(worker.exitError(exit))
      if (worker === this.#successor) {
        // It had been ready and waited for the others: whoever prepared it is told by its slot being as it was.
        this.abandon()
      } else if (worker === this.#worker) {
        this.#worker = undefined
        if (this.#successor === undefined) this.#restart(worker.exitError(exit), worker)
      }
    })
    return worker
  }

  #again(failed: SupervisedWorker | undefined): void {
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
        // Out of processes or descriptors, most likely: that may pass.
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
