import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { invalidType, SocketServerError } from '../../errors.js'

/**
 * Returns the absolute path that `node entry` would run in directory `cwd`, without following links: a path through a
 * `current` link leads each later start to the release that the link names then. Throws ERR_SOCKETSERVER_ENTRY_NOT_FOUND
 * instead of starting a child that would fail.
 */
export function resolveEntry(entry: string | URL, cwd: string | URL = logicalDirectory()): string {
  const path = resolve(toPath('options.cwd', cwd), toPath('entry', entry))
  try {
    createRequire(join(path, '..', 'entry.js')).resolve(path)
  } catch (cause) {
    throw entryNotFound(path, cause)
  }
  // Not the file that was found: node follows links and extensions by itself, and the user's own path belongs in argv[1].
  return path
}

/**
 * Throws ERR_SOCKETSERVER_ENTRY_NOT_FOUND if the file of a resolved entry is gone. Looks at the file system: `require.resolve`
 * caches what it has found once.
 */
export function requireEntry(path: string): void {
  if (!['', '.js', '.json', '.node'].some((extension) => existsSync(path + extension))) throw entryNotFound(path)
}

function entryNotFound(path: string, cause?: unknown): SocketServerError {
  const message = `There is no file to start a worker from: '${path}'`
  return new SocketServerError('ERR_SOCKETSERVER_ENTRY_NOT_FOUND', message, { cause })
}

/** Returns the working directory as the shell names it. `process.cwd()` has followed the links, for good. */
function logicalDirectory(): string {
  const physical = process.cwd()
  const logical = process.env['PWD']
  try {
    return logical !== undefined && isAbsolute(logical) && realpathSync(logical) === physical ? logical : physical
  } catch {
    // PWD names a directory that is gone or that this user may not read.
    return physical
  }
}

function toPath(name: string, value: unknown): string {
  if (value instanceof URL) return fileURLToPath(value)
  if (typeof value !== 'string') throw invalidType(name, 'of type string or an instance of URL', value)
  return value.startsWith('file:') ? fileURLToPath(value) : value
}
