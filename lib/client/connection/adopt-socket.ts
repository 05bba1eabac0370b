// Turns the descriptor of a connection into a socket. The only other file of TypeScript in which a descriptor is a number is
// server/worker/child-process.ts.

import { closeSync } from 'node:fs'
import { Socket, type SocketConstructorOpts } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { systemError } from '../../errors.js'
import { type ProxiedClient, shutDown } from '../../native.js'
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
  const Handle = connection.isUnix ? pipeConstructor() : tcpConstructor()
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
  if (connection.proxied !== undefined) nameClient(handle, connection.proxied)
  handle.close = closeHandle
  if (handle.reset !== undefined) handle.reset = resetHandle
  return handle
}

/** Stores the client's address, known from accept, in a socket: getpeername(2) fails once the client has gone. */
export function rememberPeer(socket: Socket, connection: ReceivedConnection): void {
  // `net` caches the result of getpeername(2) here. If that changes, this has no effect.
  if (!connection.isUnix) Reflect.set(socket, '_peername', connection)
}

/**
 * Makes a handle report the addresses of the client's connection to the proxy. A TLS socket asks the handle below it, so that
 * this serves https and http2 too.
 */
function nameClient(handle: StreamHandle, { client, local }: ProxiedClient): void {
  handle.getpeername = (out) => {
    Object.assign(out, client)
    return 0
  }
  handle.getsockname = (out) => {
    Object.assign(out, local)
    return 0
  }
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
