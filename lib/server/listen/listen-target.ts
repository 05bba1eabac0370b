import { Descriptor } from '../../descriptors/descriptor.js'
import { invalidType, invalidValue } from '../../errors.js'
import { boolean, integer, isPortNumber, optionsObject, port, signal, socketName, string } from '../../validate.js'
import { parseRouting, ROUTING_OPTIONS, type RoutingOptions, type RoutingSettings } from './routing-options.js'
import type { ServerNameOptions } from './server-names.js'

/** Options of every kind of listener. */
export interface AnyListenOptions extends RoutingOptions, ServerNameOptions {
  /** The most connections that the kernel queues before they are accepted, the argument of listen(2). Default 511. */
  backlog?: number | undefined
  /** Aborting the signal cancels a pending `listen()`, and later closes the server, as in `net`. */
  signal?: AbortSignal | undefined
}

/** Options of `listen()` for a TCP port. */
export interface PortListenOptions extends AnyListenOptions {
  /** The port, 0 to 65535; 0 lets the system choose. */
  port: number
  /** A host name or an IP address. Default: `::` including IPv4, or `0.0.0.0` without IPv6. */
  host?: string | undefined
  /** Whether an IPv6 listener refuses IPv4. Default false. */
  ipv6Only?: boolean | undefined
}

/** Options of `listen()` for a Unix socket. */
export interface PathListenOptions extends AnyListenOptions {
  /**
   * A path or, on Linux, an abstract name, which begins with a null byte. Clients that use `net` of Node 20 cannot reach an
   * abstract name of this server, because that version pads the name with null bytes.
   */
  path: string
  /** Whether every user may read the socket file. Default false. */
  readableAll?: boolean | undefined
  /** Whether every user may write to the socket file, which allows connecting. Default false. */
  writableAll?: boolean | undefined
}

/**
 * Options of `listen()` for a descriptor that listens already, for example inherited from systemd or received from another
 * process. The server takes ownership.
 */
export interface FdListenOptions extends RoutingOptions, ServerNameOptions {
  /** The descriptor's number, or a received `Descriptor`, which is released. */
  fd: number | Descriptor
  /** Aborting the signal cancels a pending `listen()`, and later closes the server, as in `net`. */
  signal?: AbortSignal | undefined
}

/** Options of `listen()`: a TCP port, a Unix socket or a descriptor. */
export type ListenOptions = PortListenOptions | PathListenOptions | FdListenOptions

/** The validated arguments of `listen()`, with the defaults. */
export type ListenTarget = { signal: AbortSignal | undefined; routing: RoutingSettings | undefined } & (
  | { kind: 'port'; port: number; host: string | undefined; backlog: number; ipv6Only: boolean }
  | { kind: 'path'; path: string; backlog: number; readableAll: boolean; writableAll: boolean }
  | { kind: 'fd'; fd: number; descriptor: Descriptor | undefined }
)

/** Parses the arguments of `listen()` as `net` does: a string of digits is a port, any other string a path. */
export function parseListenTarget(first: unknown, host?: unknown, rest: readonly unknown[] = []): ListenTarget {
  refuseFurtherArguments([host, ...rest])
  if (typeof first === 'number' || isPortNumber(first)) return parseOptions({ port: first, host }, 'port')
  if (first === undefined) throw invalidType('port', 'of type number or string, or an options object', first)
  if (host !== undefined)
    throw invalidValue('host', host, 'is only allowed with a port: pass all other options in an object')
  if (typeof first === 'string') return parseOptions({ path: first }, 'path')
  return parseOptions(optionsObject('options', first, KNOWN, REFUSED), 'options')
}

/** Throws for the further arguments that `net` allows: a callback and a backlog. */
function refuseFurtherArguments(given: readonly unknown[]): void {
  const callback = given.find((argument) => typeof argument === 'function')
  if (callback !== undefined) throw invalidValue('callback', callback, 'is not supported: listen() returns a promise')
  const backlog = given.slice(1).find((argument) => argument !== undefined)
  if (backlog !== undefined)
    throw invalidValue('backlog', backlog, 'is not supported: use listen({ port, host, backlog })')
}

function parseOptions(options: Partial<Record<keyof AllForms, unknown>>, name: string): ListenTarget {
  const field = (key: string): string => (name === 'options' ? `options.${key}` : key)
  const abort = signal(field('signal'), options.signal)
  const routing = parseRouting(options, field)
  if (options.fd !== undefined) {
    const descriptor = options.fd instanceof Descriptor ? options.fd : undefined
    const fd = descriptor?.fd ?? options.fd
    if (descriptor !== undefined && fd === -1) throw invalidValue(field('fd'), descriptor, 'is closed or released')
    return { kind: 'fd', fd: integer(field('fd'), fd, 0, LARGEST_INT), descriptor, signal: abort, routing }
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
      routing,
    }
  }
  if (options.path !== undefined) {
    const name = socketName(field('path'), options.path)
    if (routing?.maxPerSource !== undefined && routing.proxy === undefined) {
      const problem = 'needs proxyProtocol on a Unix socket, whose clients have no address'
      throw invalidValue(field('maxPerSource'), options.maxPerSource, problem)
    }
    return {
      kind: 'path',
      path: name,
      readableAll: permission(field('readableAll'), options.readableAll, name),
      writableAll: permission(field('writableAll'), options.writableAll, name),
      backlog,
      signal: abort,
      routing,
    }
  }
  throw invalidValue(name, options, 'must have the property "port", "path" or "fd"')
}

function permission(option: string, value: unknown, socket: string): boolean {
  const isAllowed = boolean(option, value, false)
  if (isAllowed && socket.startsWith('\0'))
    throw invalidValue(option, value, 'is only allowed with a path: an abstract name has no permissions')
  return isAllowed
}

type AllForms = PortListenOptions & PathListenOptions & FdListenOptions

const KNOWN = [
  'backlog',
  'fd',
  'host',
  'ipv6Only',
  'path',
  'port',
  'readableAll',
  'serverNames',
  'signal',
  'writableAll',
  ...ROUTING_OPTIONS,
]

const REFUSED = {
  exclusive: 'is not supported: workers never listen, so every listener belongs to the parent alone',
  reusePort: 'is not supported: the kernel would reset queued connections whenever one of the sockets closes',
}

const LARGEST_INT = 2 ** 31 - 1
