import type { ListenerAddress } from '../native.js'

/** Where a TCP listener listens, in the shape of `net`'s `server.address()`. */
export interface TcpAddress {
  /** An IP address. */
  address: string
  family: 'IPv4' | 'IPv6'
  port: number
}

/** Where a Unix listener listens. */
export interface PathAddress {
  path: string
}

/** Where a listener listens. */
export type ListenAddress = TcpAddress | PathAddress

export function fromNative({ family, address, port }: ListenerAddress): ListenAddress {
  if (family === 'Unix') return { path: address }
  return { address, family: family === 'IPv6' ? 'IPv6' : 'IPv4', port }
}

/** The same for an error's `address` and `port`; a path has port -1, as in `net`. */
export function errorPlace(address: ListenAddress): { address: string; port: number } {
  return 'path' in address ? { address: address.path, port: -1 } : { address: address.address, port: address.port }
}
