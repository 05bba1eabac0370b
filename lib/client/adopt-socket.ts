// The place where the descriptor of a connection becomes a socket. The only other place where a descriptor is a number
// in TypeScript is server/spawn-worker.ts.

import { closeSync } from 'node:fs'
import { Socket, type SocketConstructorOpts } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { systemError } from '../errors.js'
import { shutDown } from '../native.js'
import type { ReceivedConnection } from './received-connection.js'
import { CONNECTED, pipeConstructor, type StreamHandle, tcpConstructor } from './stream-handle.js'

/** How sockets are made of descriptors. */
export interface Adopter {
  /** A socket that owns the connection's descriptor. Throws if there can be none; then the descriptor is closed. */
  adopt(connection: ReceivedConnection, options?: SocketOptions): Socket
  /** The same, one layer below, for Node's servers; undefined where this Node offers no handles. */
  readonly open: ((connection: ReceivedConnection) => StreamHandle) | undefined
}

/** Options that a `net.Server` gives to the sockets it makes. */
export interface SocketOptions {
  allowHalfOpen?: boolean
  /** Not to read before `resume()`. */
  pauseOnCreate?: boolean
}

/**
 * `tcp`: by way of a handle, which takes 5 system calls and about 10 us less a connection (measured), or as `fd` where
 * this Node has no such handles. `fd`: `new net.Socket({ fd })`, documented.
 */
export function createAdopter({ handles }: { handles: 'tcp' | 'fd' }): Adopter {
  if (handles === 'fd' || tcpConstructor() === undefined) return { adopt: adoptDescriptor, open: undefined }
  return {
    open: openHandle,
    adopt: (connection, options) => {
      const handle = openHandle(connection)
      return make(connection, { ...options, handle }, () => handle.close())
    },
  }
}

/** Keeps the client's address on a socket: getpeername(2) fails once the client has gone, and the parent was told at accept. */
export function rememberPeer(socket: Socket, connection: ReceivedConnection): void {
  // Where net keeps what getpeername(2) says. Should it stop to, this does nothing.
  if (connection.family !== 'Unix') Reflect.set(socket, '_peername', connection)
}

function adoptDescriptor(connection: ReceivedConnection, options?: SocketOptions): Socket {
  const fd = connection.release()
  return make(connection, { ...options, fd }, () => closeDescriptor(connection))
}

function make(connection: ReceivedConnection, options: MakeOptions, abandon: () => void): Socket {
  let socket: Socket
  try {
    socket = new Socket(options)
  } catch (error) {
    abandon()
    throw error
  }
  rememberPeer(socket, connection)
  const handle: unknown = Reflect.get(socket, '_handle')
  if (connection.reissued && options.fd !== undefined && typeof handle === 'object' && handle !== null) {
    shutDownBeforeClose(handle, connection)
  }
  return socket
}

/** `net.Socket`'s options with the two that its types leave out. */
type MakeOptions = SocketConstructorOpts & { handle?: StreamHandle; pauseOnCreate?: boolean }

function openHandle(connection: ReceivedConnection): StreamHandle {
  const Handle = connection.family === 'Unix' ? pipeConstructor() : tcpConstructor()
  if (Handle === undefined) {
    closeDescriptor(connection)
    throw new TypeError(`This Node has no handle for a connection of family ${connection.family}`)
  }
  const handle = new Handle(CONNECTED)
  const error = connection.adoptBy(handle)
  if (error !== 0) {
    handle.close()
    closeDescriptor(connection)
    const code = getSystemErrorName(error)
    throw systemError({ code, errno: error, message: 'the descriptor cannot be adopted' }, 'open')
  }
  if (connection.reissued) shutDownBeforeClose(handle, connection)
  return handle
}

/**
 * A connection that another worker had been offered may still lie in that worker's socket if its event loop is stuck, and
 * until that copy is closed too, a close alone does not reach the client: shutdown(2) does.
 */
function shutDownBeforeClose(handle: object, { fd }: ReceivedConnection): void {
  let isOpen = true
  for (const name of CLOSING) {
    const method: unknown = Reflect.get(handle, name)
    if (typeof method !== 'function') continue
    Reflect.set(handle, name, (...args: unknown[]): unknown => {
      // Afterwards the number may be somebody else's.
      if (isOpen) shutDown(fd)
      isOpen = false
      return Reflect.apply(method, handle, args)
    })
  }
}

/** Parts a socket from its connection, of which somebody else has a copy: the socket closes, and nothing else ends. */
export function detach(socket: Socket): void {
  const handle: unknown = Reflect.get(socket, '_handle')
  if (typeof handle === 'object' && handle !== null) {
    // What `shutDownBeforeClose` has put before those of the prototype.
    for (const name of CLOSING) Reflect.deleteProperty(handle, name)
  }
  socket.destroy()
}

/** Closes what nobody owns now; that it could not be closed is less to say than why it could not be adopted. */
function closeDescriptor(connection: ReceivedConnection): void {
  try {
    closeSync(connection.release())
  } catch {
    // It was none, which open() has said already.
  }
}

const CLOSING = ['close', 'reset']
