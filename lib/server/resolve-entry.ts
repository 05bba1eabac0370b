import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { invalidType, SocketServerError } from '../errors.js'

/**
 * The absolute path that `node entry` would run in directory `cwd`: without an extension, or a directory, too.
 * A missing file is reported here and not by a child that dies of it.
 */
export function resolveEntry(entry: string | URL, cwd: string | URL = process.cwd()): string {
  const path = resolve(toPath('options.cwd', cwd), toPath('entry', entry))
  try {
    createRequire(join(path, '..', 'entry.js')).resolve(path)
  } catch (cause) {
    throw new SocketServerError(
      'ERR_SOCKETSERVER_ENTRY_NOT_FOUND',
      `There is no file to start a worker from: '${path}'`,
      { cause },
    )
  }
  // Not what it resolved to: node follows links and extensions by itself, and the user's own path belongs in argv[1].
  return path
}

function toPath(name: string, value: unknown): string {
  if (value instanceof URL) return fileURLToPath(value)
  if (typeof value !== 'string') throw invalidType(name, 'of type string or an instance of URL', value)
  return value.startsWith('file:') ? fileURLToPath(value) : value
}
