import { fromNative, type ListenAddress } from '../../address.js'
import { systemError } from '../../errors.js'
import type { NativeServer } from '../../native.js'
import { resolveHost } from '../listen/listen.js'
import type { AdminSettings } from './admin-options.js'

/** Opens an admin listener. Rejects with the error properties of `net`: the code, the address, and `listen` as the system call. */
export async function openAdmin(
  native: () => Pick<NativeServer, 'openAdmin'>,
  { target, mode, hosts, minReady, maxQueueShare, livenessTimeout, concurrency }: AdminSettings,
  service: 'http' | 'agent',
): Promise<ListenAddress> {
  const where =
    'path' in target ? { path: target.path } : { host: await resolveHost(target.host, undefined), port: target.port }
  const { address, error } = native().openAdmin({
    ...where,
    mode,
    hosts,
    isAgent: service === 'agent',
    minReady,
    maxQueue: maxQueueShare,
    livenessTimeoutMs: livenessTimeout,
    ...(concurrency === undefined ? {} : { concurrency }),
  })
  if (address) return fromNative(address)
  const requested = 'path' in where ? { address: where.path, port: -1 } : { address: where.host, port: where.port }
  if (error) throw systemError(error, 'listen', requested)
  throw new TypeError('The binding returned neither an address nor an error')
}
