import { invalidValue, outOfRange } from '../../errors.js'
import { ids, integer, milliseconds, optionsObject, socketName } from '../../validate.js'

export interface ShareOptions {
  /**
   * The rights of the file at the path, 0 to 0o777: who may write to it may connect. It has them from the moment it appears,
   * whatever the umask. Default 0o600. An abstract name has none: anybody may connect, and `allow` alone decides.
   */
  mode?: number | undefined
  /** Who may join beside this process's own user: these users, and the members of these groups, by number. Default nobody. */
  allow?: { uids?: readonly number[] | undefined; gids?: readonly number[] | undefined } | undefined
  /** How many workers may have joined at a time, 1 to 65535; one more is told so and not let in. Default 64. */
  maxWorkers?: number | undefined
  /** Milliseconds in which what connects has to say hello; 0 is for ever. Default 5000. */
  helloTimeout?: number | undefined
  /** Milliseconds a worker may take to finish what it holds when `close()` retires it; 0 is for ever. Default 30000. */
  drainTimeout?: number | undefined
}

/** {@link ShareOptions} with their defaults. */
export interface ShareSettings {
  path: string
  mode: number
  uids: number[]
  gids: number[]
  maxWorkers: number
  helloTimeoutMs: number
  drainTimeout: number
}

export function parseShareOptions(path: string, options: ShareOptions): ShareSettings {
  const name = socketName('path', path)
  optionsObject('options', options, ['mode', 'allow', 'maxWorkers', 'helloTimeout', 'drainTimeout'])
  const { mode, allow = {}, maxWorkers = 64, helloTimeout, drainTimeout } = options
  if (mode !== undefined && name.startsWith('\0')) {
    throw invalidValue('options.mode', mode, 'is for a path: an abstract name has none')
  }
  const { uids, gids } = parseAllow(allow)
  return {
    path: name,
    mode: mode === undefined ? 0o600 : parseMode(mode),
    uids,
    gids,
    maxWorkers: integer('options.maxWorkers', maxWorkers, 1, MOST_WORKERS),
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

/** As many as the core lets in. */
const MOST_WORKERS = 65_535
