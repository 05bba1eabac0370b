// Runs in the PARENT: what it knows of a worker that has joined at a shared path. The worker's own side may be in any language;
// of a Node process it is client/channel/reconnecting-channel.ts.

import { type InspectOptionsStylized, inspect } from 'node:util'
import type { NativeServer } from '../../native.js'
import { summary } from '../../summary.js'
import type { JoinedHandle, KnownWorker, WorkerState } from './worker-handle.js'

/** What the handle on a joined worker needs of the native server. */
export type JoinedWorkerPort = Pick<NativeServer, 'channelStats' | 'retire' | 'endChannel'>

export interface JoinedSetup {
  id: number
  channel: number
  path: string
  pid: number | undefined
  uid: number
  gid: number
  native: JoinedWorkerPort
  /** Told of each change of state. */
  changed: (worker: JoinedWorker, from: WorkerState) => void
}

/**
 * The parent's handle on a worker that it did not start. Its life:
 *
 *     starting --joined--> ready --retire, or leaving--> draining --channel ends--> exited
 *
 * From everywhere the end of its channel leads to `exited`: of its process nothing else is known here.
 */
export class JoinedWorker implements JoinedHandle, KnownWorker {
  readonly id: number
  readonly channel: number
  readonly path: string
  readonly pid: number | undefined
  readonly uid: number
  readonly gid: number
  readonly slot = undefined
  readonly threadId = undefined
  readonly process = undefined
  readonly thread = undefined
  readonly generation = 0
  readonly restarts = 0
  /** Resolves when its channel is over. */
  readonly exited: Promise<void>
  readonly #setup: JoinedSetup
  #state: WorkerState = 'starting'
  #since = Date.now()
  #handled = 0
  #isExpired = false
  #timer: NodeJS.Timeout | undefined
  #settleExited: () => void = () => {}

  constructor(setup: JoinedSetup) {
    this.#setup = setup
    this.id = setup.id
    this.channel = setup.channel
    this.path = setup.path
    this.pid = setup.pid
    this.uid = setup.uid
    this.gid = setup.gid
    this.exited = new Promise((resolve) => {
      this.#settleExited = resolve
    })
  }

  get state(): WorkerState {
    return this.#state
  }

  get since(): Date {
    return new Date(this.#since)
  }

  get leases(): number {
    return this.#setup.native.channelStats(this.channel)?.leases ?? 0
  }

  get handled(): number {
    return this.#setup.native.channelStats(this.channel)?.handedOff ?? this.#handled
  }

  /** Whether it has not finished what it held in the time that `retire` gave it. */
  get isExpired(): boolean {
    return this.#isExpired
  }

  [inspect.custom](depth: number, options: InspectOptionsStylized): string {
    const { id, path, pid, uid, gid, state, leases, handled } = this
    return summary('Worker', { id, path, pid, uid, gid, state, leases, handled }, depth, options)
  }

  /** The native side has welcomed it. */
  joined(): void {
    if (this.#state === 'starting') this.#enter('ready')
  }

  /** Records that the worker takes no more connections, by its own choice. What it still holds is its own to finish. */
  leaving(): void {
    if (this.#state === 'ready') this.#enter('draining')
  }

  /** The native side says that its channel is over, after so many connections. */
  channelEnded(handled: number): void {
    if (this.#state === 'exited') return
    this.#handled = handled
    clearTimeout(this.#timer)
    this.#enter('exited')
    this.#settleExited()
  }

  /**
   * Gives it no more connections and has it leave when it has finished those it holds, for which it has `within`
   * milliseconds; 0 is for ever. Then its channel is ended. A second call may shorten that.
   */
  retire(within: number): void {
    if (this.#state === 'exited') return
    if (this.#state !== 'draining') {
      this.#enter('draining')
      this.#setup.native.retire(this.channel)
    }
    if (within === 0) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#isExpired = true
      this.#setup.native.endChannel(this.channel)
    }, within).unref()
  }

  #enter(state: WorkerState): void {
    const from = this.#state
    this.#state = state
    this.#since = Date.now()
    this.#setup.changed(this, from)
  }
}
