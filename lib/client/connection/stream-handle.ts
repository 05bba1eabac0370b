// Node's own stream handles, which Node does not document: the little of them that is used here, behind guards.

import { closeSync } from 'node:fs'
import { Socket, type SocketConstructorOpts } from 'node:net'
import { hasCode, SocketServerError } from '../../errors.js'
import { unconnectedSocket } from '../../native.js'

/** A `TCP` or `Pipe` handle, as a socket or server of `net` has it. */
export interface StreamHandle {
  /** Adopts a descriptor; returns a negative system error number if that fails. */
  open(fd: number): number | undefined
  close(callback?: () => void): void
  /** Closes a TCP connection by a reset; returns a negative system error number if that fails. */
  reset?(callback?: () => void): number
}

export type StreamHandleConstructor = new (type: number) => StreamHandle

/** The argument of both constructors: a connected stream, or one that listens. */
export const CONNECTED = 0
export const LISTENING = 1

/** Returns the constructor of TCP handles. Throws ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME where this process can have none. */
export function tcpConstructor(): StreamHandleConstructor {
  tcp ??= constructorOf('tcp')
  return tcp
}

/** Returns the constructor of handles of Unix sockets, or throws as `tcpConstructor` does. */
export function pipeConstructor(): StreamHandleConstructor {
  pipe ??= constructorOf('unix')
  return pipe
}

/**
 * Takes the constructor from the handle of a socket made by the documented `new net.Socket({ fd })`. Unlike `connect()`, this is
 * seen by no patch of `net` that counts or traces outgoing connections.
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

/** Returns the error for a process that cannot make sockets of the descriptors it is sent. */
export function unsupportedRuntime(cause?: unknown): SocketServerError {
  const why = hasCode(cause, 'ERR_ACCESS_DENIED')
    ? "Node's permission model forbids it: run this process with --allow-net"
    : `supported are Node 20.19 and later, this is ${process.release.name} ${process.version}`
  const text = `This process cannot make sockets of the connections that a server sends it: ${why}`
  return new SocketServerError('ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME', text, { cause })
}

const METHODS = ['open', 'close', 'listen', 'ref', 'unref']

let tcp: StreamHandleConstructor | undefined
let pipe: StreamHandleConstructor | undefined
