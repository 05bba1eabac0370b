import { isIP } from 'node:net'
import { invalidType, invalidValue } from '../../errors.js'
import type { NativeRouting } from '../../native.js'
import { milliseconds, oneOf, optionsObject, strings } from '../../validate.js'

/** Options of `listen()` that decide what is learnt of a client before its connection enters the queue. */
export interface RoutingOptions {
  /** The proxies that name the client by the PROXY protocol, version 1 or 2. */
  proxyProtocol?: ProxyProtocolOptions | undefined
}

/** The proxies that name the client by the PROXY protocol. */
export interface ProxyProtocolOptions {
  /**
   * Who must begin each connection with a header: addresses and networks in CIDR notation, such as `10.0.0.0/8`, and `unix` for all
   * connections of a Unix socket. A process that can connect from there can name any client.
   */
  from: string | readonly string[]
  /** Milliseconds from accept in which the header must be complete, at least 1. Then the connection is reset. Default 3000. */
  timeout?: number | undefined
  /** What happens to connections from elsewhere: they have no header, or they are reset. Default `direct`. */
  others?: 'direct' | 'refuse' | undefined
}

export const ROUTING_OPTIONS = ['proxyProtocol']

/** Validates the routing options. Returns undefined if nothing is to be learnt. `field` returns the name of an option. */
export function parseRouting(
  options: { proxyProtocol?: unknown },
  field: (key: string) => string,
): NativeRouting | undefined {
  if (options.proxyProtocol === undefined) return undefined
  return { proxy: parseProxyProtocol(field('proxyProtocol'), options.proxyProtocol) }
}

function parseProxyProtocol(name: string, value: unknown): NonNullable<NativeRouting['proxy']> {
  const options: { from?: unknown; timeout?: unknown; others?: unknown } = optionsObject(name, value, [
    'from',
    'timeout',
    'others',
  ])
  const others = oneOf(`${name}.others`, options.others, ['direct', 'refuse'], 'direct')
  const timeoutMs = milliseconds(`${name}.timeout`, options.timeout, 3000)
  if (timeoutMs === 0)
    throw invalidValue(`${name}.timeout`, 0, 'must be at least 1: a silent client would wait for ever')
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
