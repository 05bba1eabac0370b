import { inspect } from 'node:util'

/**
 * The codes of the errors that this package itself reports. The codes are stable: match codes, not messages.
 * A system error keeps the system's code instead (`EADDRINUSE`, `EACCES`, `EMFILE` ...), as `net` does.
 */
export type SocketServerErrorCode =
  /** `connect()` where no server started this process, or where its channel cannot be used. */
  | 'ERR_SOCKETSERVER_NO_PARENT'
  /** The server, pool, client, stream or descriptor is draining or closed and takes nothing new. */
  | 'ERR_SOCKETSERVER_CLOSED'
  /** A worker could not be started, or exited before it was ready. */
  | 'ERR_SOCKETSERVER_WORKER_EXITED'
  /** A worker was not ready within `readyTimeout`, and has been ended. */
  | 'ERR_SOCKETSERVER_READY_TIMEOUT'
  /** A worker slot exits repeatedly soon after each start; restarts continue at the longest delay. */
  | 'ERR_SOCKETSERVER_CRASH_LOOP'
  /** A worker that has not called `connect()` called `fork()` or `threads()` with the file that it runs itself. */
  | 'ERR_SOCKETSERVER_FORK_LOOP'
  /** `fork()` was given a file that does not exist. */
  | 'ERR_SOCKETSERVER_ENTRY_NOT_FOUND'
  /** The other end of a channel sent what the protocol forbids, or speaks another version of it. */
  | 'ERR_SOCKETSERVER_PROTOCOL'
  /** A defect of this package: the thread that accepts and dispatches has ended. Please report it. */
  | 'ERR_SOCKETSERVER_INTERNAL'
  /** This package has no binary for this platform, or its binary cannot be loaded. */
  | 'ERR_SOCKETSERVER_UNSUPPORTED_PLATFORM'
  /** This process cannot make sockets of descriptors: it is no supported Node, or its permission model forbids it. */
  | 'ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME'
  /** `connect({ port })` for more ports at one time than a channel can carry. */
  | 'ERR_SOCKETSERVER_TOO_MANY_PORTS'
  /** The parent has died or closed the channel: no more connections arrive. */
  | 'ERR_SOCKETSERVER_CONNECTION_LOST'
  /** The server at a shared path refused this process for good: the user may not join, or no common version exists. */
  | 'ERR_SOCKETSERVER_REFUSED'
  /** `handBack()` of a connection that has been read from, written to, ended or handed back. The worker keeps the connection. */
  | 'ERR_SOCKETSERVER_CONNECTION_USED'
  /** `client.serve()` while the client serves another server. */
  | 'ERR_SOCKETSERVER_ALREADY_SERVING'
  /** Descriptors that were sent to this process were lost, usually because the process is at its descriptor limit. */
  | 'ERR_SOCKETSERVER_DESCRIPTORS_LOST'
  /** A descriptor has another kind than the call requires. */
  | 'ERR_SOCKETSERVER_DESCRIPTOR_KIND'

/** The properties of a {@link SocketServerError} besides `code` and `message`. */
export interface ErrorDetails {
  /** The underlying error. */
  cause?: unknown
  /** The system's error number, negative as in Node. */
  errno?: number | undefined
  /** The system call that failed: `listen`, `accept`, `getaddrinfo` ... */
  syscall?: string | undefined
  /** The IP address or path. */
  address?: string | undefined
  /** The port. */
  port?: number | undefined
  /** The host name that could not be resolved. */
  hostname?: string | undefined
  /** The process id of the worker. */
  pid?: number | undefined
  /** The thread id of the worker. */
  threadId?: number | undefined
  /** The exit code of the worker. */
  exitCode?: number | undefined
  /** The signal that ended the worker. */
  signal?: NodeJS.Signals | undefined
  /** The last lines of the worker's standard error; for a process that inherits standard error, from its second start on. */
  stderr?: string | undefined
  /** The bytes whose descriptors are lost. */
  data?: Buffer | undefined
}

/** The error class of this package. Invalid options throw Node's `TypeError` or `RangeError` instead. */
export class SocketServerError extends Error {
  /** A {@link SocketServerErrorCode}, or the system's own code: `EADDRINUSE`, `EACCES` ... */
  readonly code: SocketServerErrorCode | (string & {})
  /** The system's error number, negative as in Node. */
  declare readonly errno?: number | undefined
  /** The system call that failed: `listen`, `accept`, `getaddrinfo` ... */
  declare readonly syscall?: string | undefined
  /** The IP address or path. */
  declare readonly address?: string | undefined
  /** The port. */
  declare readonly port?: number | undefined
  /** The host name that could not be resolved. */
  declare readonly hostname?: string | undefined
  /** The process id of the worker. */
  declare readonly pid?: number | undefined
  /** The thread id of the worker. */
  declare readonly threadId?: number | undefined
  /** The exit code of the worker. */
  declare readonly exitCode?: number | undefined
  /** The signal that ended the worker. */
  declare readonly signal?: NodeJS.Signals | undefined
  /** The last lines of the worker's standard error. */
  declare readonly stderr?: string | undefined
  /** The bytes whose descriptors were lost. */
  declare readonly data?: Buffer | undefined

  static {
    nameErrors(this, 'SocketServerError')
  }

  constructor(code: SocketServerErrorCode | (string & {}), message: string, details: ErrorDetails = {}) {
    const { cause, ...fields } = details
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    for (const [name, value] of Object.entries(fields)) {
      if (value !== undefined) Object.defineProperty(this, name, { value, enumerable: true, configurable: true })
    }
  }
}

/** The shape of a system error, whether the binding or Node reports it. */
export interface SystemFailure {
  code: string
  errno: number
  /** The system's sentence, in lower case: `address already in use`. */
  message: string
}

/**
 * A system error in the words of `net`: `listen EADDRINUSE: address already in use 127.0.0.1:8888`.
 * As there, a path has port -1 and the number is left out of the message.
 */
export function systemError(
  failure: SystemFailure,
  syscall: string,
  where: { address?: string | undefined; port?: number | undefined; pid?: number | undefined; note?: string } = {},
): SocketServerError {
  const { address, port, pid, note } = where
  const place = address === undefined ? '' : port !== undefined && port > 0 ? ` ${address}:${port}` : ` ${address}`
  const message = `${syscall} ${failure.code}: ${failure.message}${place}${note === undefined ? '' : ` ${note}`}`
  return new SocketServerError(failure.code, message, { errno: failure.errno, syscall, address, port, pid })
}

/** Whether `error` carries exactly this code. */
export function hasCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code
}

/** What a promise rejects with once its `AbortSignal` is aborted; named and coded as Node's own. */
export class AbortError extends Error {
  readonly code = 'ABORT_ERR'

  static {
    nameErrors(this, 'AbortError')
  }

  constructor(cause: unknown) {
    super('The operation was aborted', { cause })
  }
}

/** Node's ERR_SERVER_ALREADY_LISTEN. */
export function serverAlreadyListens(): Error {
  const error = new Error('Listen method has been called more than once without closing.')
  return coded(error, 'ERR_SERVER_ALREADY_LISTEN', serverAlreadyListens)
}

/** Node's ERR_SERVER_NOT_RUNNING. */
export function serverNotRunning(): Error {
  return coded(new Error('Server is not running.'), 'ERR_SERVER_NOT_RUNNING', serverNotRunning)
}

/** Node's ERR_ILLEGAL_CONSTRUCTOR, for classes whose objects come from their static methods. */
export function illegalConstructor(): TypeError {
  return coded(new TypeError('Illegal constructor'), 'ERR_ILLEGAL_CONSTRUCTOR', illegalConstructor)
}

/** Node's ERR_INVALID_ARG_TYPE; `expected` completes "must be ...". */
export function invalidType(name: string, expected: string, received: unknown): TypeError {
  const error = new TypeError(`The ${quoted(name)} must be ${expected}.${describeType(received)}`)
  return coded(error, 'ERR_INVALID_ARG_TYPE', invalidType)
}

/** Node's ERR_INVALID_ARG_VALUE; `reason` completes "is invalid" or replaces it. */
export function invalidValue(name: string, received: unknown, reason = 'is invalid'): TypeError {
  const error = new TypeError(`The ${quoted(name)} ${reason}. Received ${brief(received)}`)
  return coded(error, 'ERR_INVALID_ARG_VALUE', invalidValue)
}

/** Node's ERR_OUT_OF_RANGE; `range` completes "It must be ...". */
export function outOfRange(name: string, range: string, received: unknown): RangeError {
  const says = `The value of "${name}" is out of range. It must be ${range}. Received ${brief(received)}`
  return coded(new RangeError(says), 'ERR_OUT_OF_RANGE', outOfRange)
}

/** Makes an error look like Node's own: its code is in the first line of the stack, which begins where `maker` was called. */
function coded<E extends Error>(error: E, code: string, maker: (...args: never) => Error): E {
  error.name = `${error.name} [${code}]`
  Error.captureStackTrace(error, maker)
  // Its first line is written when it is first read.
  Reflect.get(error, 'stack')
  Reflect.deleteProperty(error, 'name')
  return Object.assign(error, { code })
}

/** Puts the name where Node's errors have it: on the prototype, out of the way of `inspect`. */
function nameErrors(type: new (...args: never) => Error, name: string): void {
  Object.defineProperty(type.prototype, 'name', { value: name, writable: true, configurable: true })
}

function quoted(name: string): string {
  return `"${name}" ${name.includes('.') ? 'property' : 'argument'}`
}

function describeType(value: unknown): string {
  if (value === null || value === undefined) return ` Received ${value}`
  if (typeof value === 'function') return ` Received function ${value.name}`
  if (typeof value === 'object') {
    const name = value.constructor?.name
    return name ? ` Received an instance of ${name}` : ` Received ${inspect(value, { depth: -1 })}`
  }
  return ` Received type ${typeof value} (${brief(value)})`
}

function brief(value: unknown): string {
  const text = inspect(value, { depth: 0 })
  return text.length > 128 ? `${text.slice(0, 128)}...` : text
}
