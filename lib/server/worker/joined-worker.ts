// Runs in the PARENT: the handle of a worker that joined at a shared path. The worker may be written in any language; the Node
// implementation is client/channel/reconnecting-channel.ts.

import { type InspectOptionsStylized, inspect } from 'node:util'
import { summary } from '../../summary.js'
import { WorkerChannel, type WorkerChannelPort } from './worker-channel.js'
import type { JoinedHandle, KnownWorker, WorkerState } from './worker-handle.js'

/** The properties of a joined worker, and the functions of the server that its handle calls. */
export interface JoinedSetup {
  id: number
  channel: number
  path: string
  pid: number | undefined
  uid: number
  gid: number
  native: WorkerChannelPort
  /** Called at each change of the state. */
  changed: (worker: JoinedWorker, from: WorkerState) => void
}

/**
 * The parent's handle of a worker that it did not start. The states:
 *
 *     starting --joined--> ready --retire, or leaving--> draining --channel ends--> exited
 *
 * The end of the channel leads from every state to `exited`, because the parent sees nothing else of the process.
 */
export class JoinedWorker implements JoinedHandle, KnownWorker {
  readonly id: number
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
  /** Resolves when the channel has ended. */
  readonly exited: Promise<void>
  readonly #setup: JoinedSetup
  readonly #channel: WorkerChannel
  #state: WorkerState = 'starting'
  #since = Date.now()
  #isExpired = false
  #timer: NodeJS.Timeout | undefined
  #settleExited: () => void = () => {}

  constructor(setup: JoinedSetup) {
    this.#setup = setup
    this.id = setup.id
    this.#channel = new WorkerChannel(setup.native, setup.channel)
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
    return this.#channel.leases
  }

  get handled(): number {
    return this.#channel.handled
  }

  get eventLoopUtilization(): number | undefined {
    return this.#channel.eventLoopUtilization
  }

  /** Whether the worker did not finish its leases within the time of `retire`. */
  get isExpired(): boolean {
    return this.#isExpired
  }

  [inspect.custom](depth: number, options: InspectOptionsStylized): string {
    const { id, path, pid, uid, gid, state, leases, handled } = this
    return summary('Worker', { id, path, pid, uid, gid, state, leases, handled }, depth, options)
  }

  /** Records that the native server has sent WELCOME to the worker. */
  joined(): void {
    if (this.#state === 'starting') this.#enter('ready')
  }

  /** Records that the worker takes no more connections, by its own choice. It has no deadline for its leases. */
  leaving(): void {
    if (this.#state === 'ready') this.#enter('draining')
  }

  /** Records that the channel has ended, after this many connections. */
  channelEnded(handled: number): void {
    if (this.#state === 'exited') return
    this.#channel.ended(handled)
    clearTimeout(this.#timer)
    this.#enter('exited')
    this.#settleExited()
  }

  /**
   * Retires the worker: it gets no more connections and has `within` milliseconds to finish its leases and leave; 0 means no
   * limit. Then the server ends the channel. A second call may shorten the time.
   */
  retire(within: number): void {
    if (this.#state === 'exited') return
    if (this.#state !== 'draining') {
      this.#enter('draining')
      this.#channel.retire()
    }
    if (within === 0) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#isExpired = true
      this.#channel.end()
    }, within).unref()
  }

  #enter(state: WorkerState): void {
    const from = this.#state
    this.#state = state
    this.#since = Date.now()
    this.#setup.changed(this, from)
  }
}
