import type { ReceiverPhase } from '../../native.js'
import type { ReceivedConnection } from '../connection/received-connection.js'

/** Whoever takes a lane's connections. */
export interface LaneOwner {
  /** How many it would take now; Infinity while it takes them as they come. */
  demand(): number
  /** Gets one. Must not throw. */
  receive(connection: ReceivedConnection): void
  /** The channel is over and this lane has given all it held. */
  exhausted(): void
  phaseChanged(phase: ReceiverPhase): void
}

/** What a lane needs of its channel. */
export interface LaneChannel {
  readonly phase: ReceiverPhase
  add(lane: Lane): void
  /** Takes up to `room` connections, and lets the parent send up to `window` more. */
  exchange(lane: Lane, room: number, window: number): ReceivedConnection[]
  /** Counts a lease as over; true if the parent waits for the next exchange to hear of it. */
  leaseEnded(): boolean
  /** Is told that a lane takes no more connections. */
  stopped(): void
  remove(lane: Lane): void
}

/**
 * The credit and the leases of one port, or of all of them: how many connections to ask for, and when to say so.
 * Its exchange with the native side is the hot path, so it is done as rarely as the promises allow: at once when woken,
 * once a tick for new demand, once a turn of the loop for credit that has become free, and within 2 ms otherwise.
 */
export class Lane {
  /** The local port it serves; 0 is any. */
  readonly port: number
  readonly #channel: LaneChannel
  readonly #owner: LaneOwner
  #concurrency = Number.POSITIVE_INFINITY
  #leases = 0
  /** What the parent may still send, as of the last exchange. */
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

  /** Asks for nothing any more; leases go on. */
  stop(): void {
    if (this.#isStopped) return
    this.#isStopped = true
    this.pump()
    this.#channel.stopped()
  }

  /** Stopped and without leases: gone. */
  close(): void {
    this.pump()
    this.#channel.remove(this)
  }

  /** `isReported`: that it is over has been told already, as it was handed back. */
  leaseEnded(isReported = false): void {
    this.#leases -= 1
    const isAwaited = !isReported && this.#channel.leaseEnded()
    // Credit that is waited for goes out with whatever else ends in this turn of the loop; a mere count has time.
    if (this.#window(this.#room()) > this.#credit) this.#immediate ??= setImmediate(() => this.pump())
    else if (isAwaited) this.#timer ??= setTimeout(() => this.pump(), REPORT_DELAY).unref()
  }

  /** Pumps once the running code has had its say: many accept() in a row are one exchange. */
  pumpSoon(): void {
    if (this.#isQueued) return
    this.#isQueued = true
    queueMicrotask(() => {
      if (this.#isQueued) this.pump()
    })
  }

  /** Takes what waits, reports what has ended and asks for as much as is wanted, now. */
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

  /** Exchanges until there is less than was asked for. Whether nothing is left that this lane would want. */
  #takeAll(): boolean {
    for (;;) {
      const room = this.#room()
      const window = this.#window(room)
      const taken = this.#channel.exchange(this, room, window)
      this.#leases += taken.length
      this.#credit = Math.min(window, room - taken.length)
      for (const connection of taken) this.#owner.receive(connection)
      if (taken.length < room) return true
      if (taken.length === 0 || this.#room() === 0) return this.#owner.demand() === 0
    }
  }

  /** How many may be taken now. */
  #room(): number {
    if (this.#isStopped) return 0
    return Math.max(0, Math.min(this.#owner.demand(), this.#concurrency - this.#leases, NO_LIMIT))
  }

  /** How many of them may be on their way at once. */
  #window(room: number): number {
    return this.#owner.demand() === Number.POSITIVE_INFINITY ? Math.min(room, PUSH_WINDOW) : room
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
 * Connections that may be on their way to a worker that takes them as they come. Fewer, and it waits for its next
 * exchange; more, and a slow worker sits on what a fast one could have had. 32 keeps a channel busy over one turn of the
 * loop at the rates measured (some 20,000 connections a second), at a ninth of what a socket pair's buffer holds.
 */
const PUSH_WINDOW = 32

/** How the native side writes "no limit". */
const NO_LIMIT = 2 ** 32 - 1

/** Milliseconds after which the parent is told of an ended lease, if it waits for that and nothing else tells it. */
const REPORT_DELAY = 2
