import { lookup } from 'node:dns'
import { fstatSync } from 'node:fs'
import { isIP } from 'node:net'
import { constants } from 'node:os'
import { fromNative, type ListenAddress } from '../../address.js'
import { AbortError, hasCode, SocketServerError, systemError } from '../../errors.js'
import type { ListenOutcome, NativeRouting, NativeServer } from '../../native.js'
import type { ListenTarget } from './listen-target.js'
import type { RoutingSettings } from './routing-options.js'

/** Opens a listener. `key` is that of session ids. Rejects as `net` does: with the system's code, the address, and `listen` as the system call. */
export async function listenOn(
  native: () => NativeServer,
  target: ListenTarget,
  key: Uint8Array,
): Promise<ListenAddress> {
  if (target.signal?.aborted) throw new AbortError(target.signal.reason)
  const routing = target.routing && nativeRouting(target.routing, key)
  switch (target.kind) {
    case 'port': {
      const host = await resolveHost(target.host, target.signal)
      const outcome = native().listenTcp(host, target.port, target.backlog, target.ipv6Only, routing)
      // Without a host `net` reports the address that it tried last.
      return opened(outcome, { address: host === '' ? '::' : host, port: target.port })
    }
    case 'path': {
      const { path, backlog, readableAll, writableAll } = target
      return opened(native().listenPath(path, backlog, readableAll, writableAll, routing), { address: path, port: -1 })
    }
    case 'fd': {
      checkOpen(target.fd)
      const address = opened(native().listenFd(target.fd, routing), {})
      // The server listens on a copy, and the binding has closed the number.
      target.descriptor?.release()
      return address
    }
  }
}

/** Adds the key of session ids to routing options. */
export function nativeRouting({ sticky, ...settings }: RoutingSettings, key: Uint8Array): NativeRouting {
  return { ...settings, ...(sticky && { sticky: { ...sticky, key } }) }
}

function opened({ address, error }: ListenOutcome, requested: { address?: string; port?: number }): ListenAddress {
  if (address) return fromNative(address)
  if (error) throw systemError(error, 'listen', requested)
  throw new TypeError('The binding returned neither an address nor an error')
}

/** Throws a system error if the descriptor is not open. The binding would report a defect of this package instead. */
function checkOpen(fd: number): void {
  try {
    // As bigint, for the reason that worker-identity.ts gives.
    fstatSync(fd, { bigint: true })
  } catch (error) {
    if (!hasCode(error, 'EBADF')) throw error
    throw systemError({ code: 'EBADF', errno: -constants.errno.EBADF, message: 'bad file descriptor' }, 'listen')
  }
}

/** Resolves `host` to an IP address as `net` does. The empty string means every address. */
export function resolveHost(host: string | undefined, signal: AbortSignal | undefined): Promise<string> {
  if (host === undefined || host === '' || isIP(host) !== 0) return Promise.resolve(host ?? '')
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new AbortError(signal?.reason))
    signal?.addEventListener('abort', abort, { once: true })
    lookup(host, (error, address) => {
      signal?.removeEventListener('abort', abort)
      if (error === null) return resolve(address)
      const { code = 'ENOTFOUND', errno, syscall, message } = error
      reject(new SocketServerError(code, message, { cause: error, errno, syscall, hostname: host }))
    })
  })
}
