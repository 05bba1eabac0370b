// The only importer of the binding. All other files of lib import the binding's types and functions from here.

import { constants } from 'node:os'
import type * as Binding from './binding/index.js'
import { SocketServerError, systemError } from './errors.js'

export type {
  ChannelEnd,
  DescriptorsOutcome,
  HandBackRefusal,
  ListenAnswer,
  ListenerAddress,
  ListenOutcome,
  NativeDescriptor,
  NativeListenChannel,
  NativeReceiver,
  NativeRouting,
  NativeServer,
  NativeStream,
  NativeUnixListener,
  Notice,
  ProxiedClient,
  ReceiveOutcome,
  ReceiverPhase,
  SystemError,
} from './binding/index.js'

const HOW_TO_GET_A_BINARY =
  'supported are Linux (glibc and musl) and macOS on x64 and arm64. On these, reinstall without --omit=optional, or build the ' +
  'binary with Rust and `npm run build` in a clone of the repository'

const binding = load()

/** Starts the parent's Rust thread, which listens, accepts and hands off. */
export function openServer(settings: Binding.NativeServerSettings, wake: () => void): Binding.NativeServer {
  return withSystemError(() => new binding.NativeServer(settings, wake))
}

/** Opens a channel to a new worker at a slot of the server; see `NativeServer.openChannel`. */
export function openChannel(server: Binding.NativeServer, slot: number): Binding.ChannelEnd {
  const end = withSystemError(() => server.openChannel())
  server.assignSlot(end.channel, slot)
  return end
}

/** Returns a session id that names a slot. The key has 16 bytes, `random` 13. */
export function nativeSessionId(key: Uint8Array, slot: number, random: Uint8Array): string {
  return binding.NativeServer.sessionId(key, slot, random)
}

/** Opens a listen channel; see `NativeServer.openListenChannel`. */
export function openListenChannel(server: Binding.NativeServer, app: number, channel: number): number {
  return withSystemError(() => server.openListenChannel(app, channel))
}

/** Returns the worker's end of a listen channel on descriptor `fd`, which it owns from then on, or copies if it is `borrowed`. */
export function listenChannel(fd: number, { borrowed }: { borrowed: boolean }): Binding.NativeListenChannel {
  return new binding.NativeListenChannel(fd, borrowed)
}

/**
 * Opens the worker's end of a channel at descriptor `fd`. Takes ownership of `fd`, or copies it if it is `borrowed`. With `keeps`,
 * for a worker thread, the receiver owns the connections' descriptors, so that they are closed when the thread is terminated.
 */
export function openReceiver(
  fd: number,
  { borrowed, keeps }: { borrowed: boolean; keeps: boolean },
  wake: (hasChanged: boolean) => void,
): Binding.NativeReceiver {
  return new binding.NativeReceiver(fd, borrowed, keeps, wake)
}

/** Connects to a shared path without waiting. Returns the worker's end of a channel, which the caller owns, or the error. */
export function dial(path: string): { fd: number } | { error: Binding.SystemError } {
  const { fd, error } = binding.NativeReceiver.dial(path)
  if (fd !== undefined) return { fd }
  if (error !== undefined) return { error }
  throw new TypeError('The binding returned neither a descriptor nor an error')
}

/** Returns an unconnected stream socket, IPv4 or AF_UNIX, which the caller owns. */
export function unconnectedSocket(kind: 'tcp' | 'unix'): number {
  const { fd, error } = binding.NativeReceiver.unconnectedSocket(kind === 'unix')
  if (fd !== undefined) return fd
  if (error !== undefined) throw systemError(error, error.syscall)
  throw new TypeError('The binding returned neither a descriptor nor an error')
}

/** Counts a turn of this worker's event loop, for the parent's stall detection. */
export function beat(receiver: Binding.NativeReceiver): void {
  receiver.beat()
}

/** Makes descriptor `fd` the standard error of this process, and closes `fd`. */
export function restoreStderr(fd: number): void {
  binding.NativeReceiver.restoreStderr(fd)
}

/** Ends a connection by shutdown(2), which reaches the client even if other processes have copies. Leaves `fd` open. */
export function shutDown(fd: number): void {
  binding.NativeReceiver.shutDown(fd)
}

/** Takes ownership of a descriptor, which must be open. */
export function adoptDescriptor(fd: number): Binding.NativeDescriptor {
  return binding.NativeDescriptor.adopt(fd)
}

/** Copies a descriptor by dup(2). */
export function copyDescriptor(fd: number): Binding.DescriptorOutcome {
  return binding.NativeDescriptor.copyOf(fd)
}

/** Returns the kind of a descriptor. */
export function kindOf(fd: number): Binding.KindOutcome {
  return binding.NativeDescriptor.kindOf(fd)
}

/** Creates a connected pair of descriptor streams. */
export function streamPair(): Binding.PairOutcome {
  return binding.NativeStream.pair()
}

/** Connects a descriptor stream to a listener. Fails with EAGAIN if the listener's backlog is full. */
export function connectStream(name: Uint8Array): Binding.StreamOutcome {
  return binding.NativeStream.connect(name)
}

/** Takes ownership of a descriptor as a descriptor stream. */
export function adoptStream(fd: number): Binding.NativeStream {
  return binding.NativeStream.adopt(fd)
}

/** Listens for descriptor streams. */
export function bindUnixListener(name: Uint8Array, mode: number, backlog: number): Binding.UnixListenerOutcome {
  return binding.NativeUnixListener.bind(name, mode, backlog)
}

/** Takes ownership of a descriptor that listens for descriptor streams. */
export function adoptUnixListener(fd: number): Binding.NativeUnixListener {
  return binding.NativeUnixListener.adopt(fd)
}

/** Formats an IPv6 address; `a` is the most significant 32 bits. */
export function ipv6Text(a: number, b: number, c: number, d: number, scope: number): string {
  return binding.NativeReceiver.ipv6Text(a, b, c, d, scope)
}

/** Returns, from the notice of a channel's end, how many connections the worker held and how many it had taken. */
export function endOf(notice: Binding.Notice): { leases: number; handedOff: number } {
  return { leases: notice.leases ?? 0, handedOff: notice.handedOff ?? 0 }
}

/** Converts a system error that the binding throws as `syscall CODE: message` to a `SocketServerError`. */
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
 * Returns the error of a binary that exists and does not load; undefined if there is no binary. The generated loader tries
 * several files and chains the errors: each is the cause of the next attempt's error.
 */
function realCause(error: unknown): Error | undefined {
  const attempts: Error[] = []
  for (let each = error; each instanceof Error; each = each.cause) attempts.unshift(each)
  return attempts.find(({ message }) => !/^(Cannot find |Unsupported )/.test(message))
}

function advice({ message }: Error): string {
  // The message of Node's ERR_DLOPEN_DISABLED. The loader drops the codes.
  return /loading addons is disabled/.test(message) ? ' Add --allow-addons to --permission, or remove --no-addons.' : ''
}

/** Returns the platform, such as `linux-x64-glibc` or `darwin-arm64`. */
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
