import type { ListenerAddress } from './native.js'

/** The address of a TCP listener, in the shape of `server.address()` of `net`. */
export interface TcpAddress {
  /** The IP address. */
  address: string
  /** The family of the IP address. */
  family: 'IPv4' | 'IPv6'
  /** The port; for `listen(0)` the port that the system chose. */
  port: number
}

/** The address of a listener on a Unix socket. */
export interface PathAddress {
  /** The path; an abstract name begins with a null byte. */
  path: string
}

/** The address of a listener: TCP or a Unix socket. */
export type ListenAddress = TcpAddress | PathAddress

/** Converts an address of the binding. */
export function fromNative({ family, address, port }: ListenerAddress): ListenAddress {
  if (family === 'Unix') return { path: address }
  return { address, family: family === 'IPv6' ? 'IPv6' : 'IPv4', port }
}

/** Returns the properties `address` and `port` of an error. A path has port -1, as in `net`. */
export function errorAddress(address: ListenAddress): { address: string; port: number } {
  return 'path' in address ? { address: address.path, port: -1 } : { address: address.address, port: address.port }
}

/** Formats an address: `127.0.0.1:80`, `[::1]:80`, or a path. */
export function addressText(address: ListenAddress): string {
  if ('path' in address) return address.path
  return address.family === 'IPv6' ? `[${address.address}]:${address.port}` : `${address.address}:${address.port}`
}
