import { ipv6Text } from '../../native.js'
import type { StreamHandle } from './stream-handle.js'

/** Who owns descriptors in a thread, which can be ended at any moment while its process lives on: see `NativeReceiver`. */
export interface DescriptorKeeper {
  adoptBy(handle: StreamHandle, fd: number): number
  release(fd: number): void
}

/**
 * A connection that is this worker's now, made of a row of the table that `NativeReceiver.exchange` fills. Nearly nobody
 * looks at an address, so it becomes text when it is read.
 *
 * It has the shape of what `getpeername` gives in Node, so that it can stand there.
 */
export class ReceivedConnection {
  /** Unique within the server. */
  readonly id: number
  /** The descriptor. It belongs to this until `adoptBy` or `release`. */
  readonly fd: number
  /** Milliseconds from accept to handoff. */
  readonly waited: number
  /** The port it came in by; undefined for a Unix socket. */
  readonly localPort: number | undefined
  /** The client's port; undefined for a Unix socket. */
  readonly port: number | undefined
  readonly family: 'IPv4' | 'IPv6' | 'Unix'
  /** To be shut down before it is closed: a copy may lie unread at a worker that is stuck. */
  readonly reissued: boolean
  /** Whether it is the parent's again, so that closing it must end nothing. */
  isHandedBack = false
  readonly #words: number | readonly number[]
  readonly #keeper: DescriptorKeeper | undefined
  #handle: StreamHandle | undefined
  #isClosed = false
  #onClosed: (() => void) | undefined

  /** Reads row `index` of `table`. `keeper` owns the descriptor until it has another owner. */
  constructor(table: Float64Array, index: number, keeper?: DescriptorKeeper) {
    this.#keeper = keeper
    const at = index * ROW
    const family = table[at + 5]
    this.id = table[at] ?? 0
    this.fd = table[at + 1] ?? -1
    this.waited = table[at + 2] ?? 0
    this.localPort = table[at + 3] || undefined
    this.port = family === 0 ? undefined : table[at + 4]
    this.family = family === 4 ? 'IPv4' : family === 6 ? 'IPv6' : 'Unix'
    this.reissued = table[at + 6] === 1
    this.#words = family === 4 ? (table[at + 7] ?? 0) : [...table.subarray(at + 7, at + ROW)]
  }

  /** The handle that owns the descriptor, once there is one. */
  get handle(): StreamHandle | undefined {
    return this.#handle
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Makes a handle the owner of the descriptor; returns a negative system error number if it cannot be. */
  adoptBy(handle: StreamHandle): number {
    const error = this.#keeper === undefined ? (handle.open(this.fd) ?? 0) : this.#keeper.adoptBy(handle, this.fd)
    if (error === 0) this.#handle = handle
    return error
  }

  /** Calls `listener` when the descriptor is closed; at once if it is already. There is one listener. */
  onClosed(listener: () => void): void {
    if (this.#isClosed) listener()
    else this.#onClosed = listener
  }

  /** Notes that the descriptor is closed. */
  closed(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#onClosed?.()
  }

  /** The descriptor, which is the caller's from then on. */
  release(): number {
    this.#keeper?.release(this.fd)
    return this.fd
  }

  /** The client's; undefined for a Unix socket. */
  get address(): string | undefined {
    const words = this.#words
    if (typeof words === 'number')
      return `${words >>> 24}.${(words >>> 16) & 255}.${(words >>> 8) & 255}.${words & 255}`
    if (this.family === 'Unix') return undefined
    const [a = 0, b = 0, c = 0, d = 0, scope = 0] = words
    return ipv6Text(a, b, c, d, scope)
  }
}

/** A table for `NativeReceiver.exchange`: a parent has no more connections under way to one worker. */
export function exchangeTable(): Float64Array {
  return new Float64Array(64 * ROW)
}

/** Numbers in a row. */
const ROW = 12
