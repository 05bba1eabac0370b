import { invalidValue, outOfRange } from '../../errors.js'
import { ids, integer, milliseconds, optionsObject, socketName } from '../../validate.js'

/** Options of `server.share()`. */
export interface ShareOptions {
  /**
   * The permissions of the socket file, 0 to 0o777; write permission allows connecting. The file has them from the moment it
   * appears, regardless of the umask. Default 0o600. An abstract name has no permissions: only `allow` restricts joining.
   */
  mode?: number | undefined
  /** User ids, and group ids whose members may join, besides the user of this process. Default: nobody else. */
  allow?: { uids?: readonly number[] | undefined; gids?: readonly number[] | undefined } | undefined
  /** The most workers that may be joined at a time, 1 to 65535. Further programs are refused as `full`. Default 64. */
  maxWorkers?: number | undefined
  /** Milliseconds that a program has to send HELLO after it has connected; 0 means no limit. Default 5000. */
  helloTimeout?: number | undefined
  /** Milliseconds that a worker retired by `share.close()` has to finish its leases; 0 means no limit. Default 30000. */
  drainTimeout?: number | undefined
}

/** Validated {@link ShareOptions}. */
export interface ShareSettings {
  path: string
  mode: number
  uids: number[]
  gids: number[]
  maxWorkers: number
  helloTimeoutMs: number
  drainTimeout: number
}

/** Validates the arguments of `share()` and adds the defaults. */
export function parseShareOptions(path: string, options: ShareOptions): ShareSettings {
  const name = socketName('path', path)
  optionsObject('options', options, ['mode', 'allow', 'maxWorkers', 'helloTimeout', 'drainTimeout'])
  const { mode, allow = {}, maxWorkers = 64, helloTimeout, drainTimeout } = options
  if (mode !== undefined && name.startsWith('\0')) {
    throw invalidValue('options.mode', mode, 'is only allowed with a path: an abstract name has no permissions')
  }
  const { uids, gids } = parseAllow(allow)
  return {
    path: name,
    mode: mode === undefined ? 0o600 : parseMode(mode),
    uids,
    gids,
    maxWorkers: integer('options.maxWorkers', maxWorkers, 1, MAX_WORKERS),
    helloTimeoutMs: milliseconds('options.helloTimeout', helloTimeout, 5000),
    drainTimeout: milliseconds('options.drainTimeout', drainTimeout, 30_000),
  }
}

function parseMode(mode: unknown): number {
  const bits = integer('options.mode', mode, 0, 2 ** 32 - 1)
  if (bits > 0o777) throw outOfRange('options.mode', '>= 0 && <= 0o777', mode)
  return bits
}

function parseAllow(allow: NonNullable<ShareOptions['allow']>): { uids: number[]; gids: number[] } {
  optionsObject('options.allow', allow, ['uids', 'gids'])
  return { uids: ids('options.allow.uids', allow.uids), gids: ids('options.allow.gids', allow.gids) }
}

/** The limit of the core. */
const MAX_WORKERS = 65_535
