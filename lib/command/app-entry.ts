import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { hasCode } from '../errors.js'
import { resolveEntry } from '../server/pool/resolve-entry.js'
import { CommandError } from './command-error.js'

/** Throws unless `node app` would find a program in `cwd`. The error message contains the correct command. */
export function requireApp(app: string, cwd: string): void {
  if (statSync(cwd, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new CommandError(`the folder to run in does not exist: ${cwd}`)
  }
  try {
    resolveEntry(app, cwd)
  } catch (error) {
    if (!hasCode(error, 'ERR_SOCKETSERVER_ENTRY_NOT_FOUND')) throw error
    throw new CommandError(reason(app, cwd))
  }
}

function reason(app: string, cwd: string): string {
  const path = resolve(cwd, app)
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
    return `${app} is a folder with neither index.js nor a main file in its package.json. Name the file: socketserver run ${app.replace(/\/$/, '')}/server.js`
  }
  const program = programOf(app, cwd)
  if (program !== undefined) return `${app} is a package, not a file. Run its program: socketserver run ${program}`
  if (existsSync(resolve(cwd, 'node_modules', app))) {
    return `${app} is a package without a program, not a file. Name a file: socketserver run server.js`
  }
  return `there is no file ${app} in ${cwd}`
}

/** Returns the path of an installed package's program; undefined if the package has none. */
function programOf(app: string, cwd: string): string | undefined {
  const link = resolve(cwd, 'node_modules', '.bin', app)
  if (existsSync(link)) return relative(cwd, realpathSync(link))
  const manifest = resolve(cwd, 'node_modules', app, 'package.json')
  if (!existsSync(manifest)) return undefined
  const bin: unknown = Reflect.get(JSON.parse(readFileSync(manifest, 'utf8')), 'bin')
  const program: unknown = typeof bin === 'object' && bin !== null ? Object.values(bin)[0] : bin
  return typeof program === 'string' ? relative(cwd, resolve(cwd, 'node_modules', app, program)) : undefined
}
