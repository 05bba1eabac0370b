// The undocumented stream handles of Node: the few properties that this package uses, with checks.

import { closeSync } from 'node:fs'
import { Socket, type SocketConstructorOpts } from 'node:net'
import { hasCode, SocketServerError } from '../../errors.js'
import { unconnectedSocket } from '../../native.js'

/** The `TCP` or `Pipe` handle of a socket or server of `net`. */
export interface StreamHandle {
  /** Takes ownership of a descriptor. Returns a negative system error number if this fails. */
  open(fd: number): number | undefined
  close(callback?: () => void): void
  /** Closes a TCP connection with a reset. Returns a negative system error number if this fails. */
  reset?(callback?: () => void): number
  /** Writes the address of the peer to `out`. Returns a negative system error number if this fails. */
  getpeername?(out: object): number
  /** Writes the address of this end to `out`. Returns a negative system error number if this fails. */
  getsockname?(out: object): number
}

/** The constructor of a handle. `type` is one of the constants below. */
export type StreamHandleConstructor = new (type: number) => StreamHandle

/** The type of a connected stream. */
export const CONNECTED = 0
/** The type of a listening stream. */
export const LISTENING = 1

/** Returns the constructor of TCP handles. Throws ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME if this process cannot create any. */
export function tcpConstructor(): StreamHandleConstructor {
  tcp ??= constructorOf('tcp')
  return tcp
}

/** Returns the constructor of Unix socket handles. Throws like `tcpConstructor`. */
export function pipeConstructor(): StreamHandleConstructor {
  pipe ??= constructorOf('unix')
  return pipe
}

/**
 * Takes the constructor from the handle of a socket that the documented `new net.Socket({ fd })` creates. Unlike `connect()`, this
 * does not trigger patches of `net` that count or trace outgoing connections.
 */
function constructorOf(kind: 'tcp' | 'unix'): StreamHandleConstructor {
  const fd = unconnectedSocket(kind)
  const options: SocketConstructorOpts & { pauseOnCreate: boolean } = { fd, pauseOnCreate: true }
  let socket: Socket
  try {
    socket = new Socket(options)
  } catch (cause) {
    closeSync(fd)
    throw unsupportedRuntime(cause)
  }
  const handle: unknown = Reflect.get(socket, '_handle')
  socket.destroy()
  const found: unknown = typeof handle === 'object' && handle !== null ? handle.constructor : undefined
  if (!isStreamHandleConstructor(found)) throw unsupportedRuntime()
  return found
}

function isStreamHandleConstructor(value: unknown): value is StreamHandleConstructor {
  if (typeof value !== 'function') return false
  const prototype: unknown = value.prototype
  if (typeof prototype !== 'object' || prototype === null) return false
  return METHODS.every((name) => typeof Reflect.get(prototype, name) === 'function')
}

/** Returns the error of a process that cannot create sockets from received descriptors. */
export function unsupportedRuntime(cause?: unknown): SocketServerError {
  const reason = hasCode(cause, 'ERR_ACCESS_DENIED')
    ? "Node's permission model forbids it: run this process with --allow-net"
    : `Node 20.19 or later is required, this is ${process.release.name} ${process.version}`
  const text = `This process cannot create sockets from the connections of a server: ${reason}`
  return new SocketServerError('ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME', text, { cause })
}

const METHODS = ['open', 'close', 'listen', 'ref', 'unref']

let tcp: StreamHandleConstructor | undefined
let pipe: StreamHandleConstructor | undefined
