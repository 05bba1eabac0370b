import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { invalidType, SocketServerError } from '../../errors.js'

/**
 * Returns the absolute path that `node entry` would run in directory `cwd`. Does not resolve symbolic links, so that each start
 * through a `current` link uses the release that the link names then. Throws ERR_SOCKETSERVER_ENTRY_NOT_FOUND, because a child
 * would fail without a clear error.
 */
export function resolveEntry(entry: string | URL, cwd: string | URL = logicalDirectory()): string {
  const path = resolve(toPath('options.cwd', cwd), toPath('entry', entry))
  try {
    createRequire(join(path, '..', 'entry.js')).resolve(path)
  } catch (cause) {
    throw entryNotFound(path, cause)
  }
  // Not the resolved file: node resolves links and extensions itself, and argv[1] shows the path as the user wrote it.
  return path
}

/**
 * Throws ERR_SOCKETSERVER_ENTRY_NOT_FOUND if the file of a resolved entry no longer exists. Checks the file system, because
 * `require.resolve` caches its results.
 */
export function requireEntry(path: string): void {
  if (!['', '.js', '.json', '.node'].some((extension) => existsSync(path + extension))) throw entryNotFound(path)
}

function entryNotFound(path: string, cause?: unknown): SocketServerError {
  const message = `The file to start workers from does not exist: '${path}'`
  return new SocketServerError('ERR_SOCKETSERVER_ENTRY_NOT_FOUND', message, { cause })
}

/** Returns the working directory as the shell names it: in `process.cwd()` all links are resolved. */
function logicalDirectory(): string {
  const physical = process.cwd()
  const logical = process.env['PWD']
  try {
    return logical !== undefined && isAbsolute(logical) && realpathSync(logical) === physical ? logical : physical
  } catch {
    // PWD names a directory that does not exist or that this user may not read.
    return physical
  }
}

function toPath(name: string, value: unknown): string {
  if (value instanceof URL) return fileURLToPath(value)
  if (typeof value !== 'string') throw invalidType(name, 'of type string or an instance of URL', value)
  return value.startsWith('file:') ? fileURLToPath(value) : value
}
