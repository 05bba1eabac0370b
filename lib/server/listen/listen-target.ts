import { Descriptor } from '../../descriptors/descriptor.js'
import { invalidType, invalidValue } from '../../errors.js'
import { boolean, integer, isPortNumber, optionsObject, port, signal, socketName, string } from '../../validate.js'

/** What every kind of listener accepts. */
export interface AnyListenOptions {
  /** The kernel's queue of connections that are not accepted yet, `listen(2)`'s argument. Default 511. */
  backlog?: number | undefined
  /** Aborting it gives up a `listen()` under way, and closes the server afterwards, as in `net`. */
  signal?: AbortSignal | undefined
}

/** Listens on a TCP port. */
export interface PortListenOptions extends AnyListenOptions {
  /** 0 to 65535; 0 lets the system choose. */
  port: number
  /** A name or an IP address. Default: `::` with IPv4 included, or `0.0.0.0` where there is no IPv6. */
  host?: string | undefined
  /** With an IPv6 address: whether IPv4 stays out. Default false. */
  ipv6Only?: boolean | undefined
}

/** Listens on a Unix socket. */
export interface PathListenOptions extends AnyListenOptions {
  /**
   * A path, or on Linux an abstract name, which begins with a null byte. `net` of Node 20 pads such a name with null bytes, so
   * that it reaches only servers of its own kind.
   */
  path: string
  /** Whether every user may read from it. Default false. */
  readableAll?: boolean | undefined
  /** Whether every user may write to it, and so connect. Default false. */
  writableAll?: boolean | undefined
}

/** Adopts a descriptor that listens already, inherited from systemd for instance, or received from another process; the server owns it from then on. */
export interface FdListenOptions {
  /** Its number, or one that has been received. */
  fd: number | Descriptor
  /** As for the other forms. */
  signal?: AbortSignal | undefined
}

/** What `listen()` accepts besides a port or a path. */
export type ListenOptions = PortListenOptions | PathListenOptions | FdListenOptions

/** What `listen()` was asked for, checked and with its defaults. */
export type ListenTarget = { signal: AbortSignal | undefined } & (
  | { kind: 'port'; port: number; host: string | undefined; backlog: number; ipv6Only: boolean }
  | { kind: 'path'; path: string; backlog: number; readableAll: boolean; writableAll: boolean }
  | { kind: 'fd'; fd: number; descriptor: Descriptor | undefined }
)

/** Reads `listen()`'s arguments as `net` does: a string of digits is a port, any other string a path. */
export function parseListenTarget(first: unknown, host?: unknown, rest: readonly unknown[] = []): ListenTarget {
  refuseFurtherArguments([host, ...rest])
  if (typeof first === 'number' || isPortNumber(first)) return parseOptions({ port: first, host }, 'port')
  if (first === undefined) throw invalidType('port', 'of type number or string, or an options object', first)
  if (host !== undefined) throw invalidValue('host', host, 'is for a port: every other option goes into an object')
  if (typeof first === 'string') return parseOptions({ path: first }, 'path')
  return parseOptions(optionsObject('options', first, KNOWN, REFUSED), 'options')
}

/** Throws for what `net` takes as further arguments: a callback, and a backlog. */
function refuseFurtherArguments(given: readonly unknown[]): void {
  const callback = given.find((argument) => typeof argument === 'function')
  if (callback !== undefined) throw invalidValue('callback', callback, 'is not supported: listen() returns a promise')
  const backlog = given.slice(1).find((argument) => argument !== undefined)
  if (backlog !== undefined)
    throw invalidValue('backlog', backlog, 'is not supported: write listen({ port, host, backlog })')
}

function parseOptions(options: Partial<Record<keyof AllForms, unknown>>, name: string): ListenTarget {
  const field = (key: string): string => (name === 'options' ? `options.${key}` : key)
  const abort = signal(field('signal'), options.signal)
  if (options.fd !== undefined) {
    const descriptor = options.fd instanceof Descriptor ? options.fd : undefined
    const fd = descriptor?.fd ?? options.fd
    if (descriptor !== undefined && fd === -1) throw invalidValue(field('fd'), descriptor, 'is closed or handed on')
    return { kind: 'fd', fd: integer(field('fd'), fd, 0, LARGEST_INT), descriptor, signal: abort }
  }
  const backlog = options.backlog === undefined ? 511 : integer(field('backlog'), options.backlog, 0, LARGEST_INT)
  if (options.port !== undefined) {
    return {
      kind: 'port',
      port: port(field('port'), options.port),
      host: options.host === undefined ? undefined : string(field('host'), options.host),
      ipv6Only: boolean(field('ipv6Only'), options.ipv6Only, false),
      backlog,
      signal: abort,
    }
  }
  if (options.path !== undefined) {
    const name = socketName(field('path'), options.path)
    return {
      kind: 'path',
      path: name,
      readableAll: permission(field('readableAll'), options.readableAll, name),
      writableAll: permission(field('writableAll'), options.writableAll, name),
      backlog,
      signal: abort,
    }
  }
  throw invalidValue(name, options, 'must have the property "port", "path" or "fd"')
}

function permission(option: string, value: unknown, socket: string): boolean {
  const isAllowed = boolean(option, value, false)
  if (isAllowed && socket.startsWith('\0'))
    throw invalidValue(option, value, 'is for a path: an abstract name has none')
  return isAllowed
}

type AllForms = PortListenOptions & PathListenOptions & FdListenOptions

const KNOWN = ['backlog', 'fd', 'host', 'ipv6Only', 'path', 'port', 'readableAll', 'signal', 'writableAll']

const REFUSED = {
  exclusive: 'is not supported: workers never listen, so every listener belongs to the parent alone',
  reusePort: 'is not supported: the kernel would reset queued connections whenever one of the sockets closes',
}

const LARGEST_INT = 2 ** 31 - 1
