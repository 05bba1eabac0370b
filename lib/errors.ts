import { inspect } from 'node:util'

/**
 * The codes of this package's own errors. Codes are stable, messages are not: compare codes.
 * A system error keeps the system's code instead (`EADDRINUSE`, `EACCES`, `EMFILE` ...), as `net` does.
 */
export type SocketServerErrorCode =
  /** `connect()` in a process or thread that no server started, or whose channel cannot be used. */
  | 'ERR_SOCKETSERVER_NO_PARENT'
  /** The server, pool, client, stream or descriptor is draining or closed, so the call is not possible. */
  | 'ERR_SOCKETSERVER_CLOSED'
  /** A worker could not be started, or exited before it was ready. */
  | 'ERR_SOCKETSERVER_WORKER_EXITED'
  /** A worker was not ready within `readyTimeout` and was terminated. */
  | 'ERR_SOCKETSERVER_READY_TIMEOUT'
  /** A worker slot exits repeatedly soon after each start; restarts continue at the longest delay. */
  | 'ERR_SOCKETSERVER_CRASH_LOOP'
  /** A worker called `fork()` or `threads()` with its own file before `connect()`, which would start workers without end. */
  | 'ERR_SOCKETSERVER_FORK_LOOP'
  /** `fork()` was given a file that does not exist. */
  | 'ERR_SOCKETSERVER_ENTRY_NOT_FOUND'
  /** The peer on a channel violated the protocol, or speaks another version of it. */
  | 'ERR_SOCKETSERVER_PROTOCOL'
  /** A defect of this package: the thread that accepts and dispatches has ended. Please report it. */
  | 'ERR_SOCKETSERVER_INTERNAL'
  /** This package has no binary for this platform, or its binary cannot be loaded. */
  | 'ERR_SOCKETSERVER_UNSUPPORTED_PLATFORM'
  /** This process cannot create sockets from descriptors: the runtime is not supported, or its permission model forbids it. */
  | 'ERR_SOCKETSERVER_UNSUPPORTED_RUNTIME'
  /** `connect({ port })` for more than 64 ports at a time. */
  | 'ERR_SOCKETSERVER_TOO_MANY_PORTS'
  /** The parent has died or closed the channel: no more connections arrive. */
  | 'ERR_SOCKETSERVER_CONNECTION_LOST'
  /** The server at a shared path refused this process permanently: the user may not join, or there is no common version. */
  | 'ERR_SOCKETSERVER_REFUSED'
  /** `handBack()` of a connection that was already read from, written to, ended or handed back. The worker keeps it. */
  | 'ERR_SOCKETSERVER_CONNECTION_USED'
  /** `client.serve()` of a client that already serves a server. */
  | 'ERR_SOCKETSERVER_ALREADY_SERVING'
  /** Descriptors that were sent to this process were lost, usually because the process is at its descriptor limit. */
  | 'ERR_SOCKETSERVER_DESCRIPTORS_LOST'
  /** A descriptor is not of the kind that the call requires. */
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
  /**
   * The last lines of the worker's standard error. For a worker process that inherits standard error only from the second
   * start on.
   */
  stderr?: string | undefined
  /** The bytes whose descriptors were lost. */
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

/** A system error, as the binding and Node report it. */
export interface SystemFailure {
  code: string
  errno: number
  /** The system's message in lower case: `address already in use`. */
  message: string
}

/**
 * Returns a system error that is worded as in `net`: `listen EADDRINUSE: address already in use 127.0.0.1:8888`.
 * As in `net`, a path has port -1, which the message leaves out.
 */
export function systemError(
  failure: SystemFailure,
  syscall: string,
  details: { address?: string | undefined; port?: number | undefined; pid?: number | undefined; note?: string } = {},
): SocketServerError {
  const { address, port, pid, note } = details
  const target = address === undefined ? '' : port !== undefined && port > 0 ? ` ${address}:${port}` : ` ${address}`
  const message = `${syscall} ${failure.code}: ${failure.message}${target}${note === undefined ? '' : ` ${note}`}`
  return new SocketServerError(failure.code, message, { errno: failure.errno, syscall, address, port, pid })
}

/** Returns the error of a call that a state such as 'the server is closed' does not allow. */
export function callOnClosed(call: string, state: string): SocketServerError {
  return new SocketServerError('ERR_SOCKETSERVER_CLOSED', `${call} failed: ${state}`)
}

/** Returns whether `error` has this code. */
export function hasCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code
}

/** The rejection of a call whose `AbortSignal` was aborted. Has the name and the code of Node's own error. */
export class AbortError extends Error {
  readonly code = 'ABORT_ERR'

  static {
    nameErrors(this, 'AbortError')
  }

  constructor(cause: unknown) {
    super('The operation was aborted', { cause })
  }
}

/** Returns Node's ERR_SERVER_ALREADY_LISTEN. */
export function serverAlreadyListens(): Error {
  const error = new Error('Listen method has been called more than once without closing.')
  return coded(error, 'ERR_SERVER_ALREADY_LISTEN', serverAlreadyListens)
}

/** Returns Node's ERR_SERVER_NOT_RUNNING. */
export function serverNotRunning(): Error {
  return coded(new Error('Server is not running.'), 'ERR_SERVER_NOT_RUNNING', serverNotRunning)
}

/** Returns Node's ERR_ILLEGAL_CONSTRUCTOR, for classes whose static methods create the objects. */
export function illegalConstructor(): TypeError {
  return coded(new TypeError('Illegal constructor'), 'ERR_ILLEGAL_CONSTRUCTOR', illegalConstructor)
}

/** Returns Node's ERR_INVALID_ARG_TYPE. `expected` completes "must be ...". */
export function invalidType(name: string, expected: string, received: unknown): TypeError {
  const error = new TypeError(`The ${quoted(name)} must be ${expected}.${describeType(received)}`)
  return coded(error, 'ERR_INVALID_ARG_TYPE', invalidType)
}

/** Returns Node's ERR_INVALID_ARG_VALUE. `reason` replaces "is invalid". */
export function invalidValue(name: string, received: unknown, reason = 'is invalid'): TypeError {
  const error = new TypeError(`The ${quoted(name)} ${reason}. Received ${brief(received)}`)
  return coded(error, 'ERR_INVALID_ARG_VALUE', invalidValue)
}

/** Returns Node's ERR_OUT_OF_RANGE. `range` completes "It must be ...". */
export function outOfRange(name: string, range: string, received: unknown): RangeError {
  const message = `The value of "${name}" is out of range. It must be ${range}. Received ${brief(received)}`
  return coded(new RangeError(message), 'ERR_OUT_OF_RANGE', outOfRange)
}

/** Makes an error look like Node's own: the first line of the stack has the code, and the stack starts at the caller of `factory`. */
function coded<E extends Error>(error: E, code: string, factory: (...args: never) => Error): E {
  error.name = `${error.name} [${code}]`
  Error.captureStackTrace(error, factory)
  // V8 formats the stack at the first read.
  Reflect.get(error, 'stack')
  Reflect.deleteProperty(error, 'name')
  return Object.assign(error, { code })
}

/** Sets the name on the prototype, as Node's errors do, so that `inspect` does not list it as a property. */
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
