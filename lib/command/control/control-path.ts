// The paths of control sockets.

import { lstatSync, mkdirSync, readdirSync, type Stats, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CommandError, reasonOf } from '../command-error.js'

/** Returns the path of a new app's control socket, in a folder that only this user can enter. Creates the folder. */
export function newControlPath(name: string): string {
  const [folder] = folders()
  if (folder === undefined) throw new CommandError('there is no folder for control sockets: use --control <path>')
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    const isThere = error instanceof Error && 'code' in error && error.code === 'EEXIST'
    if (!isThere) throw new CommandError(`the folder for control sockets cannot be created: ${reasonOf(error)}`)
  }
  requirePrivate(folder)
  return requireShort(join(folder, `${name}.sock`))
}

/** Returns the paths of all control sockets by the name of the app. Some may be stale. */
export function controlPaths(): Map<string, string> {
  const paths = new Map<string, string>()
  for (const folder of folders().filter((candidate) => lstatSync(candidate, { throwIfNoEntry: false }) !== undefined)) {
    requirePrivate(folder)
    for (const file of readdirSync(folder)) {
      const name = file.endsWith('.sock') ? file.slice(0, -'.sock'.length) : ''
      if (name !== '' && !paths.has(name)) paths.set(name, join(folder, file))
    }
  }
  return paths
}

/** Throws if a path is too long for the address of a Unix socket. */
export function requireShort(path: string): string {
  if (Buffer.byteLength(path) <= LONGEST_PATH) return path
  throw new CommandError(
    `the path of the control socket is longer than ${LONGEST_PATH} bytes: ${path}. Use --control <path>`,
  )
}

/**
 * Returns the folders of control sockets. The first folder is for new sockets. A service has no XDG_RUNTIME_DIR, but a terminal of
 * the same user may have this variable, so commands search both folders.
 */
function folders(): string[] {
  const runtime = process.env['XDG_RUNTIME_DIR'] ?? ''
  const isUsable = runtime.startsWith('/') && statSync(runtime, { throwIfNoEntry: false })?.isDirectory() === true
  const own = join(process.platform === 'darwin' ? tmpdir() : '/tmp', `socketserver-${process.getuid?.()}`)
  return isUsable ? [join(runtime, 'socketserver'), own] : [own]
}

/** Throws unless only this user can enter a folder. Otherwise another user could impersonate or control an app. */
function requirePrivate(folder: string): void {
  const stats = lstatSync(folder)
  const problem = problemOf(stats)
  if (problem === undefined) return
  throw new CommandError(`the folder for control sockets, ${folder}, ${problem}`)
}

function problemOf(stats: Stats): string | undefined {
  if (!stats.isDirectory()) return 'is no folder: remove it, or use --control <path>'
  if (stats.uid !== process.getuid?.()) return `belongs to the user ${stats.uid}: use --control <path>`
  const mode = stats.mode & 0o777
  if ((mode & 0o077) === 0) return undefined
  return `has mode 0${mode.toString(8)}, and others must not enter it: chmod 700 it, or use --control <path>`
}

/** `sun_path` holds 108 bytes on Linux and 104 on macOS, the last of which is a null byte. */
const LONGEST_PATH = process.platform === 'linux' ? 107 : 103
