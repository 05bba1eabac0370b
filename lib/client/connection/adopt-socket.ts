// Turns the descriptor of a connection into a socket. The only other file of TypeScript in which a descriptor is a number is
// server/worker/child-process.ts.

import { closeSync } from 'node:fs'
import { Socket, type SocketConstructorOpts } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { systemError } from '../../errors.js'
import { shutDown } from '../../native.js'
import type { ReceivedConnection } from './received-connection.js'
import { CONNECTED, pipeConstructor, type StreamHandle, tcpConstructor } from './stream-handle.js'

/**
 * Returns a socket that owns the connection's descriptor. If this throws, the caller must hand the connection back or call
 * `closeConnection`.
 */
export function adoptSocket(connection: ReceivedConnection): Socket {
  const socket = new Socket(socketOptions(openHandle(connection)))
  rememberPeer(socket, connection)
  return socket
}

/**
 * Returns a handle of Node that owns the connection's descriptor. If this throws, the caller must hand the connection back or call
 * `closeConnection`.
 */
export function openHandle(connection: ReceivedConnection): StreamHandle {
  const Handle = connection.family === 'Unix' ? pipeConstructor() : tcpConstructor()
  const handle: ConnectionHandle = new Handle(CONNECTED)
  let error: number
  try {
    error = connection.adoptBy(handle)
  } catch (cause) {
    handle.close()
    throw cause
  }
  if (error !== 0) {
    handle.close()
    const code = getSystemErrorName(error)
    throw systemError({ code, errno: error, message: 'the descriptor cannot be adopted' }, 'open')
  }
  handle.connection = connection
  handle.close = closeHandle
  if (handle.reset !== undefined) handle.reset = resetHandle
  return handle
}

/** Stores the client's address, known from accept, in a socket: getpeername(2) fails once the client has gone. */
export function rememberPeer(socket: Socket, connection: ReceivedConnection): void {
  // `net` caches the result of getpeername(2) here. If that changes, this has no effect.
  if (connection.family !== 'Unix') Reflect.set(socket, '_peername', connection)
}

/** Closes a connection, whether a handle owns the descriptor or not. */
export function closeConnection(connection: ReceivedConnection): void {
  if (connection.isClosed) return
  if (connection.handle !== undefined) {
    connection.handle.close()
    return
  }
  connection.closed()
  try {
    closeSync(connection.release())
  } catch {
    // The descriptor is not open. The caller reports the first error, which says more.
  }
}

function socketOptions(handle: StreamHandle): SocketConstructorOpts & { handle: StreamHandle } {
  // The types of `net.Socket` lack this option.
  return { handle }
}

/** A handle that notifies its connection when it closes. Shared methods save 2 us per connection over closures. */
type ConnectionHandle = StreamHandle & { connection?: ReceivedConnection }

function closeHandle(this: ConnectionHandle, callback?: () => void): void {
  shutDownBeforeClose(this.connection)
  prototypeOf(this).close.call(this, callback)
  this.connection?.closed()
}

function resetHandle(this: ConnectionHandle, callback?: () => void): number {
  shutDownBeforeClose(this.connection)
  const error = prototypeOf(this).reset?.call(this, callback) ?? 0
  if (error === 0) this.connection?.closed()
  return error
}

function prototypeOf(handle: StreamHandle): StreamHandle {
  return Object.getPrototypeOf(handle)
}

/**
 * Shuts down a reissued connection. A worker with a blocked event loop may still have an unread copy of the descriptor. Until that
 * copy is closed, a close alone does not reach the client.
 */
function shutDownBeforeClose(connection: ReceivedConnection | undefined): void {
  // After a close the number may belong to another file. A handed-back connection continues in another worker.
  if (connection?.reissued && !connection.isClosed && !connection.isHandedBack) shutDown(connection.fd)
}
