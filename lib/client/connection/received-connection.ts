import { ipv6Text, type NativeReceiver, type ProxiedClient } from '../../native.js'
import type { StreamHandle } from './stream-handle.js'

/** Owns the descriptors of a thread, which can be terminated at any moment while its process lives on; see `NativeReceiver`. */
export interface DescriptorKeeper {
  adoptBy(handle: StreamHandle, fd: number): number
  release(fd: number): void
}

/**
 * A connection that this worker has taken, from a row of the table that `NativeReceiver.exchange` fills. The address is formatted
 * only when it is read, because most handlers do not read it. An object of this class replaces the result of Node's
 * `getpeername` and has its properties.
 */
export class ReceivedConnection {
  /** The connection's id, unique within the server. */
  readonly id: number
  /** The descriptor, which this object owns until `adoptBy` or `release`. */
  readonly fd: number
  /** Milliseconds from accept to handoff. */
  readonly waited: number
  /** The listener's port; undefined on a Unix socket. */
  readonly localPort: number | undefined
  /** The client's port; undefined on a Unix socket. */
  readonly port: number | undefined
  /** The family of the client's address; `Unix` if it has none. */
  readonly family: 'IPv4' | 'IPv6' | 'Unix'
  /** Whether the descriptor is a Unix socket. */
  readonly isUnix: boolean
  /** What a proxy told about the client; undefined without a proxy. */
  readonly proxied: ProxiedClient | undefined
  /** Whether to shut the connection down before the close: a blocked worker may have an unread copy of the descriptor. */
  readonly reissued: boolean
  /** Whether the end of the lease is reported by the connection's id, because the parent limits the connections of each client. */
  readonly isTracked: boolean
  /** Whether the parent has the connection again, so that a close here must not end it. */
  isHandedBack = false
  /** When the lease began, by `performance.now()`. */
  readonly takenAt: number
  readonly #words: number | readonly number[]
  readonly #keeper: DescriptorKeeper | undefined
  #handle: StreamHandle | undefined
  #isClosed = false
  #onClosed: (() => void) | undefined

  /**
   * Reads row `index` of `table`. In a thread `keeper` owns the descriptor until a handle does. `receiver`, which has filled the
   * table, knows what a proxy told about the client.
   */
  constructor(
    table: Float64Array,
    index: number,
    keeper?: DescriptorKeeper,
    takenAt = performance.now(),
    receiver?: Pick<NativeReceiver, 'proxied'>,
  ) {
    this.takenAt = takenAt
    this.#keeper = keeper
    const row = index * ROW_LENGTH
    const family = table[row + 5]
    this.id = table[row] ?? 0
    this.fd = table[row + 1] ?? -1
    this.waited = table[row + 2] ?? 0
    this.localPort = table[row + 3] || undefined
    const flags = table[row + 6] ?? 0
    this.proxied = (flags & PROXIED) === 0 ? undefined : (receiver?.proxied(this.id) ?? undefined)
    this.port = this.proxied?.client.port ?? (family === 0 ? undefined : table[row + 4])
    this.family = this.proxied?.client.family ?? (family === 4 ? 'IPv4' : family === 6 ? 'IPv6' : 'Unix')
    this.isUnix = family === 0
    this.reissued = (flags & REISSUED) !== 0
    this.isTracked = (flags & TRACKED) !== 0
    this.#words = family === 4 ? (table[row + 7] ?? 0) : [...table.subarray(row + 7, row + ROW_LENGTH)]
  }

  /** The handle that owns the descriptor; undefined before `adoptBy`. */
  get handle(): StreamHandle | undefined {
    return this.#handle
  }

  /** Whether the descriptor is closed. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Makes a handle the owner of the descriptor. Returns 0, or a negative system error number. */
  adoptBy(handle: StreamHandle): number {
    const error = this.#keeper === undefined ? (handle.open(this.fd) ?? 0) : this.#keeper.adoptBy(handle, this.fd)
    if (error === 0) this.#handle = handle
    return error
  }

  /** Calls `listener` when the descriptor is closed, or at once if it is closed already. There is only one listener. */
  onClosed(listener: () => void): void {
    if (this.#isClosed) listener()
    else this.#onClosed = listener
  }

  /** Records that the descriptor is closed. */
  closed(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#onClosed?.()
  }

  /** Releases the descriptor: returns its number, which the caller must close. */
  release(): number {
    this.#keeper?.release(this.fd)
    return this.fd
  }

  /** The client's address; undefined on a Unix socket. */
  get address(): string | undefined {
    if (this.proxied !== undefined) return this.proxied.client.address
    const words = this.#words
    if (typeof words === 'number')
      return `${words >>> 24}.${(words >>> 16) & 255}.${(words >>> 8) & 255}.${words & 255}`
    if (this.family === 'Unix') return undefined
    const [a = 0, b = 0, c = 0, d = 0, scope = 0] = words
    return ipv6Text(a, b, c, d, scope)
  }
}

/** Returns a table for `NativeReceiver.exchange`. It has 64 rows, the most connections in flight to one worker. */
export function exchangeTable(): Float64Array {
  return new Float64Array(64 * ROW_LENGTH)
}

const REISSUED = 1
const PROXIED = 2
const TRACKED = 4

/** Numbers per row. */
const ROW_LENGTH = 12
