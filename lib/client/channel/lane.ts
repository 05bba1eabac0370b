import type { ListenAddress } from '../../address.js'
import type { ReceiverPhase } from '../../native.js'
import type { ReceivedConnection } from '../connection/received-connection.js'

/** The consumer of a lane's connections. */
export interface LaneOwner {
  /** Returns how many connections it would take now; Infinity while it takes them as they arrive. */
  demand(): number
  /** Takes a connection. Must not throw. */
  receive(connection: ReceivedConnection): void
  /** Called when the channel has ended and the lane has passed on all its connections. */
  exhausted(): void
  phaseChanged(phase: ReceiverPhase): void
  /** Called when the server's listeners, or some of them, have become known. */
  listenersChanged(): void
}

/** The properties and methods of a channel that a lane uses. */
export interface LaneChannel {
  readonly phase: ReceiverPhase
  /** The addresses of the server's listeners that are known. */
  readonly listeners: readonly ListenAddress[]
  /** Whether the address of a listener that is not known may still arrive. */
  readonly awaitsListeners: boolean
  /** The TLS ticket keys that all workers of the server share, once the server has sent them. */
  readonly ticketKeys: Buffer | undefined
  add(lane: Lane): void
  /** Takes up to `capacity` connections, and lets the parent send up to `window` more. */
  exchange(lane: Lane, capacity: number, window: number): ReceivedConnection[]
  /** Counts a lease that has ended after `lasted` milliseconds. Returns whether the parent waits for the next exchange, which reports it. */
  leaseEnded(lasted: number): boolean
  /** Adds a tracked connection whose lease has ended to the next exchange, which reports it. */
  trackedEnded(id: number): void
  /** Records that a lane takes no more connections. */
  stopped(): void
  remove(lane: Lane): void
}

/**
 * The credit and the leases of one port, or of any port: decides how many connections to ask for, and when. The exchange with the
 * native receiver is the hot path, so it runs as rarely as possible: at once when woken, once per tick for new demand, once per
 * turn of the event loop for credit that became free, and within 2 ms otherwise.
 */
export class Lane {
  /** The listener's port; 0 means any. */
  readonly port: number
  readonly #channel: LaneChannel
  readonly #owner: LaneOwner
  #concurrency = Number.POSITIVE_INFINITY
  #leases = 0
  /** The connections that the parent may still send, as of the last exchange. */
  #credit = 0
  #isStopped = false
  #isPumping = false
  #isQueued = false
  #immediate: NodeJS.Immediate | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(port: number, channel: LaneChannel, owner: LaneOwner) {
    this.port = port
    this.#channel = channel
    this.#owner = owner
    channel.add(this)
  }

  /** The address of the listener of the lane's port, or of the first one; undefined if it may still arrive. */
  get address(): ListenAddress | undefined {
    const { listeners, awaitsListeners } = this.#channel
    const { port } = this
    const found = listeners.find((listener) => port === 0 || ('port' in listener && listener.port === port))
    return found ?? (awaitsListeners ? undefined : { address: '::', family: 'IPv6', port })
  }

  /** The TLS ticket keys that all workers of the server share; undefined if it shares none, or has not sent them yet. */
  get ticketKeys(): Buffer | undefined {
    return this.#channel.ticketKeys
  }

  get leases(): number {
    return this.#leases
  }

  get isStopped(): boolean {
    return this.#isStopped
  }

  get concurrency(): number {
    return this.#concurrency
  }

  set concurrency(limit: number) {
    this.#concurrency = limit
    this.pumpSoon()
  }

  /** Stops asking for connections. Leases continue. */
  stop(): void {
    if (this.#isStopped) return
    this.#isStopped = true
    this.pump()
    this.#channel.stopped()
  }

  /** Removes this lane, which has stopped and has no leases, from its channel. */
  close(): void {
    this.pump()
    this.#channel.remove(this)
  }

  /**
   * Records that a lease has ended after `lasted` milliseconds; undefined if the hand-back of the connection has reported the end.
   * `tracked` is the id of a tracked connection.
   */
  leaseEnded(lasted: number | undefined, tracked?: number): void {
    this.#leases -= 1
    const isAwaited = lasted !== undefined && this.#channel.leaseEnded(lasted)
    if (tracked !== undefined) this.#channel.trackedEnded(tracked)
    // Free credit is granted once per turn of the event loop, and a tracked connection, whose client may wait for it, is reported then.
    // The count of ended leases is less urgent.
    const isUrgent = tracked !== undefined || this.#window(this.#capacity()) > this.#credit
    if (isUrgent) this.#immediate ??= setImmediate(() => this.pump())
    else if (isAwaited) this.#timer ??= setTimeout(() => this.pump(), REPORT_DELAY).unref()
  }

  /** Pumps in a microtask, so that several accept() calls in a row cause one exchange. */
  pumpSoon(): void {
    if (this.#isQueued) return
    this.#isQueued = true
    queueMicrotask(() => {
      if (this.#isQueued) this.pump()
    })
  }

  /** Takes arrived connections, reports ended leases and grants credit, now. */
  pump(): void {
    if (this.#isPumping) {
      this.pumpSoon()
      return
    }
    this.#cancelScheduled()
    this.#isPumping = true
    let isExhausted = false
    try {
      isExhausted = this.#takeAll()
    } finally {
      this.#isPumping = false
    }
    if (isExhausted && this.#channel.phase.phase === 'ended') this.#owner.exhausted()
  }

  phaseChanged(phase: ReceiverPhase): void {
    this.#owner.phaseChanged(phase)
  }

  listenersChanged(): void {
    this.#owner.listenersChanged()
  }

  /** Exchanges until fewer connections arrive than asked for. Returns whether the lane has taken all it would take. */
  #takeAll(): boolean {
    for (;;) {
      const capacity = this.#capacity()
      const window = this.#window(capacity)
      const taken = this.#channel.exchange(this, capacity, window)
      this.#leases += taken.length
      this.#credit = Math.min(window, capacity - taken.length)
      for (const connection of taken) this.#owner.receive(connection)
      if (taken.length < capacity) return true
      if (taken.length === 0 || this.#capacity() === 0) return this.#owner.demand() === 0
    }
  }

  /** Returns how many connections may be taken now. */
  #capacity(): number {
    if (this.#isStopped) return 0
    return Math.max(0, Math.min(this.#owner.demand(), this.#concurrency - this.#leases, NO_LIMIT))
  }

  /** Returns how many of them may be in flight at a time. */
  #window(capacity: number): number {
    return this.#owner.demand() === Number.POSITIVE_INFINITY ? Math.min(capacity, PUSH_WINDOW) : capacity
  }

  #cancelScheduled(): void {
    this.#isQueued = false
    clearImmediate(this.#immediate)
    clearTimeout(this.#timer)
    this.#immediate = undefined
    this.#timer = undefined
  }
}

/**
 * The most connections in flight to a worker that takes them as they arrive. With fewer the worker waits for its next exchange;
 * with more a slow worker keeps connections that a fast one could take. 32 keeps a channel busy for one turn of the event loop at
 * the measured rate of 20,000 connections a second, and uses a ninth of a socket pair's buffer.
 */
const PUSH_WINDOW = 32

/** The binding's value for "no limit". */
const NO_LIMIT = 2 ** 32 - 1

/** Milliseconds after which an exchange reports an ended lease that the parent waits for. */
const REPORT_DELAY = 2
