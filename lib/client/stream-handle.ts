// Node's own stream handles, which it does not document: the little of them that is used here, behind guards.
// Where a guard fails, callers use what is documented instead.

import { Socket } from 'node:net'

/** A `TCP` or `Pipe` handle, as a socket or server of `net` has it. */
export interface StreamHandle {
  /** Adopts a descriptor; returns a negative system error number if that fails. */
  open(fd: number): number | undefined
  close(callback?: () => void): void
}

export type StreamHandleConstructor = new (type: number) => StreamHandle

/** The argument of both constructors: a connected stream, or one that listens. */
export const CONNECTED = 0
export const LISTENING = 1

/** The constructor of TCP handles; undefined where this Node has none of that shape. */
export function tcpConstructor(): StreamHandleConstructor | undefined {
  tcp ??= { constructor: constructorOf((socket) => socket.connect({ port: 1, host: '127.0.0.1' })) }
  return tcp.constructor
}

/** The constructor of handles of Unix sockets; undefined where this Node has none of that shape. */
export function pipeConstructor(): StreamHandleConstructor | undefined {
  // Nothing can be below a device, so this path never reaches anybody.
  pipe ??= { constructor: constructorOf((socket) => socket.connect({ path: '/dev/null/socketserver' })) }
  return pipe.constructor
}

/**
 * A socket has its handle as soon as connect() has returned, and connects a tick later at the earliest if the address is
 * numeric: destroyed before that, it opens nothing. Seen on Node 20 to 26.
 */
function constructorOf(connect: (socket: Socket) => void): StreamHandleConstructor | undefined {
  const socket = new Socket()
  socket.on('error', () => {})
  try {
    connect(socket)
    const handle: unknown = Reflect.get(socket, '_handle')
    const found: unknown = typeof handle === 'object' && handle !== null ? handle.constructor : undefined
    return isStreamHandleConstructor(found) ? found : undefined
  } catch {
    // A runtime that forbids connecting (its permission model) can still serve what was accepted elsewhere.
    return undefined
  } finally {
    socket.destroy()
  }
}

function isStreamHandleConstructor(value: unknown): value is StreamHandleConstructor {
  if (typeof value !== 'function') return false
  const prototype: unknown = value.prototype
  if (typeof prototype !== 'object' || prototype === null) return false
  return METHODS.every((name) => typeof Reflect.get(prototype, name) === 'function')
}

const METHODS = ['open', 'close', 'listen', 'ref', 'unref']

let tcp: { constructor: StreamHandleConstructor | undefined } | undefined
let pipe: { constructor: StreamHandleConstructor | undefined } | undefined
