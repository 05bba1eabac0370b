// Converts the settings of the routing options. In a config file, they may also be the objects that `server.listen()` takes.

import { nearestOf } from '../../known-options.js'
import {
  type ProxyProtocolOptions,
  parseRouting,
  type RoutingOptions,
  type StickyOptions,
} from '../../server/listen/routing-options.js'
import { reasonOf, usageError } from '../command-error.js'
import { shown } from './values.js'

/** Returns the value of `--sticky`: `address`, `sni`, either with `:strict`, `cookie:NAME`, `header:NAME` or `query:NAME`. */
export function stickyOf(name: string, value: unknown): 'address' | 'sni' | StickyOptions {
  if (typeof value === 'object' && value !== null) return checked(name, 'sticky', { ...value })
  const [key = '', ...rest] = String(value).split(':')
  const given = rest.join(':')
  if ((key === 'address' || key === 'sni') && rest.length === 0) return key
  if (key === 'address' || key === 'sni') {
    if (given === 'strict') return { by: key, strict: true }
    throw usageError(`${name} must be ${key} or ${key}:strict, without a name, not ${shown(value)}`)
  }
  if (key === 'cookie' || key === 'header' || key === 'query') {
    if (TOKEN.test(given)) return { [key]: given }
    throw usageError(`${name} must be ${key}:NAME, such as ${key}:${EXAMPLES[key]}, not ${shown(value)}`)
  }
  const nearest = nearestOf(key, FORMS)
  const hint = nearest === undefined ? '' : `; did you mean ${[nearest, ...rest].join(':')}?`
  throw usageError(`${name} must be address, sni, cookie:NAME, header:NAME or query:NAME, not ${shown(value)}${hint}`)
}

/** Returns the value of `--proxy-protocol`: addresses, networks or `unix`, separated by commas. */
export function proxyProtocolOf(name: string, value: unknown): ProxyProtocolOptions {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return checked(name, 'proxyProtocol', { from: [], ...value })
  }
  const list: unknown[] = Array.isArray(value) ? value : String(value).split(',')
  const from = list.map((item) => String(item).trim())
  const wrong = from.find((source) => !isSource(source))
  if (wrong === undefined && from.length > 0) return { from }
  const nearest = wrong === undefined ? undefined : nearestSource(wrong)
  const hint = nearest === undefined ? '' : `; did you mean ${nearest}?`
  const what = 'IP addresses, networks such as 10.0.0.0/8, or unix, separated by commas'
  throw usageError(`${name} must be ${what}, not ${shown(wrong ?? value)}${hint}`)
}

/** Returns an object of a config file after `listen()`'s own check. */
function checked<Key extends keyof RoutingOptions, Value>(name: string, key: Key, value: Value): Value {
  try {
    parseRouting({ [key]: value }, () => name)
    return value
  } catch (error) {
    throw usageError(reasonOf(error))
  }
}

function isSource(source: string): boolean {
  try {
    parseRouting({ proxyProtocol: { from: source } }, (key) => key)
    return true
  } catch {
    return false
  }
}

/** Returns the valid source that is meant by a network with a netmask or without an address, or by a word. */
function nearestSource(wrong: string): string | undefined {
  const [address = '', mask = ''] = wrong.split('/')
  if (address.includes('.') && mask.includes('.')) {
    const bits = mask
      .split('.')
      .map((part) => Number(part).toString(2).padStart(8, '0'))
      .join('')
    const network = `${address}/${bits.lastIndexOf('1') + 1}`
    return /^1*0*$/.test(bits) && isSource(network) ? network : undefined
  }
  return nearestOf(wrong, ['unix'])
}

const FORMS = ['address', 'sni', 'cookie', 'header', 'query']

const EXAMPLES = { cookie: 'sid', header: 'x-user', query: 'sid' }

/** A token of HTTP (RFC 9110, section 5.6.2). */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
