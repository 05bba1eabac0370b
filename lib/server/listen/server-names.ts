import { domainToASCII } from 'node:url'
import { invalidValue } from '../../errors.js'
import type { NativeRouting } from '../../native.js'
import { anyObject, port } from '../../validate.js'

/** Options of `listen()` that assign the host names of TLS to pools. */
export interface ServerNameOptions {
  /**
   * The ports whose workers get the connections with a host name of TLS: `{ 'api.example.com': 8001, '*.example.com': 8002 }`. The
   * workers take them by `connect({ port: 8001 })`; no listener needs this port. `*.` stands for one label, as in a certificate. A
   * connection with another name, or without one within 3 seconds after accept, stays at the listener's own port.
   */
  serverNames?: Readonly<Record<string, number>> | undefined
}

/** Validates host names and their ports. */
export function parseServerNames(name: string, value: unknown): NonNullable<NativeRouting['names']> {
  const ports = new Map<string, number>()
  for (const [host, given] of Object.entries(anyObject(name, value))) {
    const [, wildcard = '', rest = ''] = /^(\*\.)?(.*)$/s.exec(host) ?? []
    const ascii = domainToASCII(rest)
    if (!HOST_NAME.test(ascii) || /[/?#\\]/.test(rest)) {
      throw invalidValue(name, host, "must have host names such as 'api.example.com' or '*.example.com' as its keys")
    }
    const key = `${wildcard}${ascii}`
    if (ports.has(key)) throw invalidValue(name, host, 'must not have a host name twice')
    const number = port(`${name}['${host}']`, given)
    if (number === 0) throw invalidValue(`${name}['${host}']`, number, 'must be 1 to 65535')
    ports.set(key, number)
  }
  if (ports.size === 0) throw invalidValue(name, value, 'must have at least one host name')
  return { ports: Object.fromEntries(ports), timeoutMs: TIMEOUT }
}

const HOST_NAME = /^(?=.{1,253}$)[\w-]{1,63}(\.[\w-]{1,63})*$/

/** Milliseconds. Clients of TLS speak first, so only a slow or silent client waits. */
const TIMEOUT = 3000
