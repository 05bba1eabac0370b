import { isIP } from 'node:net'
import { resolve } from 'node:path'
import type { ListenOptions } from '../../server/listen/listen-target.js'
import type { AdminOptions } from '../../server/observe/admin-options.js'
import { usageError } from '../command-error.js'
import { shown } from './values.js'

/** Returns the address of `--bind`: `8080`, `host:8080`, `[::1]:8080`, `unix:/path` or `fd:3`. */
export function bindAddress(name: string, value: unknown): ListenOptions {
  const fd = /^fd:(\d{1,9})$/.exec(String(value))?.[1]
  const address = fd === undefined ? tcpOrPath(value) : { fd: Number(fd) }
  if (address !== undefined) return address
  throw usageError(`${name} must be 8080, host:8080, [::1]:8080, unix:/path or fd:3, not ${shown(value)}`)
}

/** Returns the address of `--admin`: `9090`, `host:9090`, `[::1]:9090` or `unix:/path`. */
export function adminAddress(name: string, value: unknown): AdminOptions {
  const address = tcpOrPath(value)
  if (address !== undefined) return address
  throw usageError(`${name} must be 9090, host:9090, [::1]:9090 or unix:/path, not ${shown(value)}`)
}

/** Returns a path, or a port with an optional host. Returns undefined for any other text. */
function tcpOrPath(value: unknown): { path: string } | { port: number; host?: string } | undefined {
  const text = String(value)
  // The path is absolute, because the app gets it as PORT and may run in another folder.
  if (text.startsWith('unix:') && text.length > 5) return { path: resolve(text.slice(5)) }
  const [, host = '', digits] = /^(?:(.+):)?(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  const address = host.replace(/^\[(.*)\]$/, '$1')
  const isAmbiguous = isIP(address) === 6 && address === host
  if (digits === undefined || port > 65_535 || isAmbiguous || (address.includes(':') && isIP(address) !== 6)) {
    return undefined
  }
  return address === '' ? { port } : { port, host: address }
}
