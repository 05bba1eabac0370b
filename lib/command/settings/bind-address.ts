import { isIP } from 'node:net'
import { resolve } from 'node:path'
import type { ListenOptions } from '../../server/listen/listen-target.js'
import { usageError } from '../command-error.js'
import { shown } from './values.js'

/** Returns where `--bind` listens: `8080`, `host:8080`, `[::1]:8080`, `unix:/path` or `fd:3`. */
export function bindAddress(name: string, value: unknown): ListenOptions {
  const text = String(value)
  // Absolute, because it is also the app's PORT, and the app may run in another folder.
  if (text.startsWith('unix:') && text.length > 5) return { path: resolve(text.slice(5)) }
  const fd = /^fd:(\d{1,9})$/.exec(text)?.[1]
  if (fd !== undefined) return { fd: Number(fd) }
  const [, host = '', digits] = /^(?:(.+):)?(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  const address = host.replace(/^\[(.*)\]$/, '$1')
  const isAmbiguous = isIP(address) === 6 && address === host
  if (digits === undefined || port > 65_535 || isAmbiguous || (address.includes(':') && isIP(address) !== 6)) {
    throw usageError(`${name} must be 8080, host:8080, [::1]:8080, unix:/path or fd:3, not ${shown(value)}`)
  }
  return address === '' ? { port } : { port, host: address }
}
