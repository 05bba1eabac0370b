import { isIP } from 'node:net'
import { invalidType, invalidValue } from '../../errors.js'
import type { NativeRouting } from '../../native.js'
import { boolean, integer, milliseconds, oneOf, optionsObject, string, strings } from '../../validate.js'
import { parseServerNames } from './server-names.js'

/** Options of `listen()` that determine the address of a client, and the worker slot, before the connection enters the queue. */
export interface RoutingOptions {
  /** The proxies that send the client's address by the PROXY protocol, version 1 or 2. */
  proxyProtocol?: ProxyProtocolOptions | undefined
  /**
   * Determines which worker slot gets a connection, by the client's `address`, the host name of TLS (`sni`), or a cookie, a header
   * or a parameter of the URL in the first HTTP request. A slot keeps its clients across restarts and reloads. `'address'` and
   * `'sni'` are short for `{ by: 'address' }` and `{ by: 'sni' }`.
   */
  sticky?: 'address' | 'sni' | StickyOptions | undefined
  /**
   * The maximum number of connections of one client that wait or that workers hold, at least 1. A further connection is reset. A client
   * is an IPv4 address or the first 64 bits of an IPv6 address; with `proxyProtocol`, the address in the header. Default: no limit.
   */
  maxPerSource?: number | undefined
}

/** The value that determines which worker slot gets a connection. Exactly one of `by`, `cookie`, `header` and `query` is required. */
export interface StickyOptions {
  /** The client's address, or the host name of TLS. */
  by?: 'address' | 'sni' | undefined
  /** The name of a cookie. */
  cookie?: string | undefined
  /** The name of a header. */
  header?: string | undefined
  /** The name of a parameter of the URL's query. */
  query?: string | undefined
  /** Milliseconds from accept in which the client must send the value. Later, any worker gets the connection. Default 300. */
  timeout?: number | undefined
  /**
   * Whether each connection waits for its slot. Otherwise only a connection with a `sessionId()` waits, and any other goes to the next
   * slot of its hash at once if its slot is busy or has too many connections. Default false.
   */
  strict?: boolean | undefined
  /** Milliseconds from accept for which a connection waits for its slot. Later, any worker gets the connection. Default 3000. */
  wait?: number | undefined
}

/** The proxies that send the client's address by the PROXY protocol. */
export interface ProxyProtocolOptions {
  /**
   * The sources whose connections must begin with a header: addresses and networks in CIDR notation, such as `10.0.0.0/8`, and `unix`
   * for all connections of a Unix socket. A process that can connect from such a source can claim any client address.
   */
  from: string | readonly string[]
  /** Milliseconds from accept in which the header must be complete, at least 1. Later, the connection is reset. Default 3000. */
  timeout?: number | undefined
  /** The treatment of connections from other sources: they have no header, or they are reset. Default `direct`. */
  others?: 'direct' | 'refuse' | undefined
}

export const ROUTING_OPTIONS = ['maxPerSource', 'proxyProtocol', 'sticky']

/** Routing options without the server's key. */
export interface RoutingSettings {
  proxy?: NonNullable<NativeRouting['proxy']>
  names?: NonNullable<NativeRouting['names']>
  sticky?: Omit<NonNullable<NativeRouting['sticky']>, 'key'>
  maxPerSource?: number
}

/** Validates the routing options. Returns undefined without routing options. `field` returns the full name of an option. */
export function parseRouting(
  { maxPerSource, proxyProtocol, serverNames, sticky }: Partial<Record<keyof RoutingOptions | 'serverNames', unknown>>,
  field: (key: string) => string,
): RoutingSettings | undefined {
  if ([maxPerSource, proxyProtocol, serverNames, sticky].every((option) => option === undefined)) return undefined
  const names = serverNames === undefined ? undefined : parseServerNames(field('serverNames'), serverNames)
  const parsed = sticky === undefined ? undefined : parseSticky(field('sticky'), sticky)
  if (names !== undefined && parsed !== undefined && parsed.name !== '') {
    throw invalidValue(field('sticky'), sticky, 'is not allowed with serverNames: TLS hides the HTTP request')
  }
  return {
    ...(proxyProtocol !== undefined && { proxy: parseProxyProtocol(field('proxyProtocol'), proxyProtocol) }),
    ...(names && { names }),
    ...(parsed && { sticky: parsed }),
    ...(maxPerSource !== undefined && { maxPerSource: integer(field('maxPerSource'), maxPerSource, 1, 2 ** 32 - 1) }),
  }
}

function parseSticky(name: string, value: unknown): NonNullable<RoutingSettings['sticky']> {
  if (value === 'address' || value === 'sni') return parseSticky(name, { by: value })
  if (typeof value === 'string') {
    throw invalidValue(name, value, "must be 'address', 'sni', or an object with by, cookie, header or query")
  }
  const options: Partial<Record<(typeof KEYS)[number] | 'strict' | 'timeout' | 'wait', unknown>> = optionsObject(
    name,
    value,
    [...KEYS, 'strict', 'timeout', 'wait'],
  )
  const [key, ...others] = KEYS.filter((candidate) => options[candidate] !== undefined)
  if (key === undefined || others.length > 0)
    throw invalidValue(name, value, 'must have one of: by, cookie, header, query')
  const waiting = {
    timeoutMs: milliseconds(`${name}.timeout`, options.timeout, 300),
    strict: boolean(`${name}.strict`, options.strict, false),
    waitMs: milliseconds(`${name}.wait`, options.wait, 3000),
  }
  if (key === 'by') {
    const by = oneOf(`${name}.by`, options.by, ['address', 'sni'], 'address')
    if (by === 'address' && options.timeout !== undefined)
      throw invalidValue(`${name}.timeout`, options.timeout, 'is not allowed with an address: the client sends nothing')
    return { by, name: '', ...waiting }
  }
  const given = string(`${name}.${key}`, options[key])
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(given))
    throw invalidValue(`${name}.${key}`, given, 'must be a token of HTTP')
  return { by: key, name: given, ...waiting }
}

const KEYS = ['by', 'cookie', 'header', 'query'] as const

function parseProxyProtocol(name: string, value: unknown): NonNullable<NativeRouting['proxy']> {
  const options: { from?: unknown; timeout?: unknown; others?: unknown } = optionsObject(name, value, [
    'from',
    'timeout',
    'others',
  ])
  const others = oneOf(`${name}.others`, options.others, ['direct', 'refuse'], 'direct')
  const timeoutMs = milliseconds(`${name}.timeout`, options.timeout, 3000)
  if (timeoutMs === 0)
    throw invalidValue(`${name}.timeout`, 0, 'must be at least 1: a silent client would wait without a limit')
  return { from: parseSources(`${name}.from`, options.from), timeoutMs, refusesOthers: others === 'refuse' }
}

function parseSources(name: string, value: unknown): string[] {
  if (value === undefined) throw invalidType(name, 'of type string or an instance of Array', value)
  const sources = typeof value === 'string' ? [value] : strings(name, value)
  if (sources.length === 0) throw invalidValue(name, value, 'must name at least one address')
  for (const source of sources) {
    if (!isSource(source)) {
      throw invalidValue(name, source, "must be an IP address, a network such as '10.0.0.0/8', or 'unix'")
    }
  }
  return sources
}

function isSource(source: string): boolean {
  if (source === 'unix') return true
  const [address = '', length, ...rest] = source.split('/')
  const family = address.includes('%') ? 0 : isIP(address)
  if (family === 0 || rest.length > 0) return false
  return length === undefined || (/^\d{1,3}$/.test(length) && Number(length) <= (family === 4 ? 32 : 128))
}
