// The only importer of the binding. Everything else in here imports the binding's classes from this file.

import { constants } from 'node:os'
import type * as Binding from './binding/index.js'
import { SocketServerError, systemError } from './errors.js'

export type {
  ChannelEnd,
  DescriptorsOutcome,
  HandBackRefusal,
  ListenerAddress,
  ListenOutcome,
  NativeDescriptor,
  NativeReceiver,
  NativeServer,
  NativeStream,
  NativeUnixListener,
  Notice,
  ReceiveOutcome,
  ReceiverPhase,
  SystemError,
} from './binding/index.js'

const HOW_TO_GET_A_BINARY =
  'supported are Linux (glibc and musl) and macOS on x64 and arm64; there, reinstall without --omit=optional, or build it ' +
  'from source in a clone of the repository with Rust and `npm run build`'

const binding = load()

/** Opens the parent's side: one Rust thread that listens, accepts and hands off. */
export function openServer(settings: Binding.NativeServerSettings, wake: () => void): Binding.NativeServer {
  return withSystemError(() => new binding.NativeServer(settings, wake))
}

/** Opens a channel; see `NativeServer.openChannel`. */
export function openChannel(server: Binding.NativeServer): Binding.ChannelEnd {
  return withSystemError(() => server.openChannel())
}

/**
 * Opens a worker's side on descriptor `fd`, which it owns from then on, or makes its own copy of if it is `borrowed`. In a
 * thread it `keeps` the connections' descriptors, as their owner when the thread is ended.
 */
export function openReceiver(
  fd: number,
  { borrowed, keeps }: { borrowed: boolean; keeps: boolean },
  wake: (hasChanged: boolean) => void,
): Binding.NativeReceiver {
  return new binding.NativeReceiver(fd, borrowed, keeps, wake)
}

/** Connects to a shared path, without waiting: a worker's end of a channel, which the caller owns, or what the system says. */
export function dial(path: string): { fd: number } | { error: Binding.SystemError } {
  const { fd, error } = binding.NativeReceiver.dial(path)
  if (fd !== undefined) return { fd }
  if (error !== undefined) return { error }
  throw new TypeError('The binding returned neither a descriptor nor an error')
}

/** Returns a stream socket of IPv4, or of AF_UNIX, that is connected to nothing and that the caller owns. */
export function unconnectedSocket(kind: 'tcp' | 'unix'): number {
  const { fd, error } = binding.NativeReceiver.unconnectedSocket(kind === 'unix')
  if (fd !== undefined) return fd
  if (error !== undefined) throw systemError(error, error.syscall)
  throw new TypeError('The binding returned neither a descriptor nor an error')
}

/** Has a receiver show that this worker's event loop turns. */
export function beat(receiver: Binding.NativeReceiver): void {
  receiver.beat()
}

/** Makes descriptor `fd` this process's standard error, whatever that was, and closes `fd` itself. */
export function restoreStderr(fd: number): void {
  binding.NativeReceiver.restoreStderr(fd)
}

/** How often the worker of a channel has shown that its event loop turns; undefined when the channel is over. */
export function beatsOf(server: Pick<Binding.NativeServer, 'channelStats'>, channel: number): number | undefined {
  return server.channelStats(channel)?.beats
}

/** Ends a connection for its client, whoever else has a copy of the descriptor, which stays open. */
export function shutDown(fd: number): void {
  binding.NativeReceiver.shutDown(fd)
}

/** Takes over a descriptor, which has to be open. */
export function adoptDescriptor(fd: number): Binding.NativeDescriptor {
  return binding.NativeDescriptor.adopt(fd)
}

/** Makes a copy of a descriptor that somebody else owns. */
export function copyDescriptor(fd: number): Binding.DescriptorOutcome {
  return binding.NativeDescriptor.copyOf(fd)
}

/** What a descriptor is of. */
export function kindOf(fd: number): Binding.KindOutcome {
  return binding.NativeDescriptor.kindOf(fd)
}

/** Makes a stream of bytes and descriptors. */
export function streamPair(): Binding.PairOutcome {
  return binding.NativeStream.pair()
}

/** Connects such a stream. EAGAIN: the backlog there is full. */
export function connectStream(name: Uint8Array): Binding.StreamOutcome {
  return binding.NativeStream.connect(name)
}

/** Takes over a descriptor as such a stream. */
export function adoptStream(fd: number): Binding.NativeStream {
  return binding.NativeStream.adopt(fd)
}

/** Listens for such streams. */
export function bindUnixListener(name: Uint8Array, mode: number, backlog: number): Binding.UnixListenerOutcome {
  return binding.NativeUnixListener.bind(name, mode, backlog)
}

/** Takes over a descriptor that listens for such streams. */
export function adoptUnixListener(fd: number): Binding.NativeUnixListener {
  return binding.NativeUnixListener.adopt(fd)
}

/** The text of an IPv6 address, of which `a` is the most significant 32 bits. */
export function ipv6Text(a: number, b: number, c: number, d: number, scope: number): string {
  return binding.NativeReceiver.ipv6Text(a, b, c, d, scope)
}

/** What the worker of a channel that has ended held then, and how many connections it had taken. */
export function endOf(notice: Binding.Notice): { leases: number; handedOff: number } {
  return { leases: notice.leases ?? 0, handedOff: notice.handedOff ?? 0 }
}

/** Gives an error of the system that the binding throws, `syscall CODE: words`, the shape of all others. */
function withSystemError<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const errno = Object.entries(constants.errno).find(([name]) => name === code)?.[1]
    if (!(error instanceof Error) || typeof code !== 'string' || errno === undefined) throw error
    const [syscall] = error.message.split(' ', 1)
    throw new SocketServerError(code, error.message, { errno: -errno, syscall })
  }
}

function load(): typeof Binding {
  try {
    return require('./binding/index.js')
  } catch (error) {
    const cause = realCause(error)
    const reason =
      cause === undefined
        ? `@socketserver/node has no working binary for ${platform()}: ${HOW_TO_GET_A_BINARY}`
        : `@socketserver/node cannot load its binary for ${platform()}: ${cause.message}${advice(cause)}`
    throw new SocketServerError('ERR_SOCKETSERVER_UNSUPPORTED_PLATFORM', reason, { cause: cause ?? error })
  }
}

/**
 * Returns the error of the binary that exists and does not load; undefined if no binary exists. The generated loader tries
 * several files and chains their errors, each the cause of the next attempt's error.
 */
function realCause(error: unknown): Error | undefined {
  const attempts: Error[] = []
  for (let each = error; each instanceof Error; each = each.cause) attempts.unshift(each)
  return attempts.find(({ message }) => !/^(Cannot find |Unsupported )/.test(message))
}

function advice({ message }: Error): string {
  // The message of Node's ERR_DLOPEN_DISABLED; the loader keeps no codes.
  return /loading addons is disabled/.test(message) ? ' Add --allow-addons to --permission, or remove --no-addons.' : ''
}

/** Returns the platform as npm and Rust name it: `linux-x64-glibc`, `darwin-arm64`. */
function platform(): string {
  const name = `${process.platform}-${process.arch}`
  return process.platform === 'linux' ? `${name}-${libc()}` : name
}

function libc(): 'glibc' | 'musl' {
  const report: object = process.report.getReport()
  const header: unknown = Reflect.get(report, 'header')
  const isGlibc = typeof header === 'object' && header !== null && 'glibcVersionRuntime' in header
  return isGlibc ? 'glibc' : 'musl'
}
