import { lookup } from 'node:dns'
import { fstatSync } from 'node:fs'
import { isIP } from 'node:net'
import { constants } from 'node:os'
import { fromNative, type ListenAddress } from '../../address.js'
import { AbortError, hasCode, SocketServerError, systemError } from '../../errors.js'
import type { ListenOutcome, NativeServer } from '../../native.js'
import type { ListenTarget } from './listen-target.js'

/** Opens one listener; rejects with the system's code, `listen` as the system call and the address, as `net` reports it. */
export async function listenOn(native: () => NativeServer, target: ListenTarget): Promise<ListenAddress> {
  if (target.signal?.aborted) throw new AbortError(target.signal.reason)
  switch (target.kind) {
    case 'port': {
      const host = await resolveHost(target.host, target.signal)
      const outcome = native().listenTcp(host, target.port, target.backlog, target.ipv6Only)
      // `net` names the address it tried last where no host was given.
      return opened(outcome, { address: host === '' ? '::' : host, port: target.port })
    }
    case 'path': {
      const { path, backlog, readableAll, writableAll } = target
      return opened(native().listenPath(path, backlog, readableAll, writableAll), { address: path, port: -1 })
    }
    case 'fd': {
      checkOpen(target.fd)
      const address = opened(native().listenFd(target.fd), {})
      // The number is no longer its own, or anybody's: the server listens with a copy.
      target.descriptor?.release()
      return address
    }
  }
}

function opened({ address, error }: ListenOutcome, slot: { address?: string; port?: number }): ListenAddress {
  if (address) return fromNative(address)
  if (error) throw systemError(error, 'listen', slot)
  throw new TypeError('The binding returned neither an address nor an error')
}

/** The binding takes a number that is no descriptor for a mistake in here; to the caller it is an error of the system. */
function checkOpen(fd: number): void {
  try {
    fstatSync(fd)
  } catch (error) {
    if (!hasCode(error, 'EBADF')) throw error
    throw systemError({ code: 'EBADF', errno: -constants.errno.EBADF, message: 'bad file descriptor' }, 'listen')
  }
}

/** An IP address for `host`, the way `net` finds it; the empty string stands for every address. */
function resolveHost(host: string | undefined, signal: AbortSignal | undefined): Promise<string> {
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
