// The place where the descriptor of a connection becomes a socket. The only other place where a descriptor is a number
// in TypeScript is server/worker/child-process.ts.

import { closeSync } from 'node:fs'
import { Socket, type SocketConstructorOpts } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { systemError } from '../../errors.js'
import { shutDown } from '../../native.js'
import type { ReceivedConnection } from './received-connection.js'
import { CONNECTED, pipeConstructor, type StreamHandle, tcpConstructor } from './stream-handle.js'

/**
 * Returns a socket that owns the connection's descriptor. If this throws, the connection still has to be handed back or given to
 * `closeConnection`.
 */
export function adoptSocket(connection: ReceivedConnection): Socket {
  const socket = new Socket(socketOptions(openHandle(connection)))
  rememberPeer(socket, connection)
  return socket
}

/**
 * Returns a handle of Node's own that owns the connection's descriptor. If this throws, the connection still has to be handed back
 * or given to `closeConnection`.
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

/** Keeps the client's address on a socket: getpeername(2) fails once the client has gone, and the parent was told at accept. */
export function rememberPeer(socket: Socket, connection: ReceivedConnection): void {
  // Where net keeps what getpeername(2) says. Should it stop to, this does nothing.
  if (connection.family !== 'Unix') Reflect.set(socket, '_peername', connection)
}

/** Closes a connection, whatever owns its descriptor. */
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
    // The number was no descriptor. The error that led here says more.
  }
}

function socketOptions(handle: StreamHandle): SocketConstructorOpts & { handle: StreamHandle } {
  // The types of `net.Socket` leave this option out.
  return { handle }
}

/** A handle that tells its connection when it closes. Functions of their own for each handle would cost 2 us a connection. */
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
 * Shuts a reissued connection down. Another worker had been offered it and may still have a copy in its socket if its event loop
 * is stuck: until that copy is closed too, a close alone does not reach the client.
 */
function shutDownBeforeClose(connection: ReceivedConnection | undefined): void {
  // Once closed, the number may be somebody else's. One that is handed back goes on elsewhere.
  if (connection?.reissued && !connection.isClosed && !connection.isHandedBack) shutDown(connection.fd)
}
