// Runs in the PARENT: answers `status`, `reload` and the other commands. The counterpart is control-client.ts. The protocol is
// HTTP/1.1 over a Unix socket, so that `curl --unix-socket` works too.

import { type BigIntStats, chmodSync, linkSync, lstatSync, renameSync, unlinkSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { hasCode } from '../../errors.js'
import { CommandError, EXIT, reasonOf } from '../command-error.js'
import { answers } from './control-client.js'
import { requireShort } from './control-path.js'
import type { ControlError, ControlHandlers } from './control-protocol.js'

/** An open control socket. */
export class ControlServer {
  readonly path: string
  readonly #server = createServer((request, response) => void this.#handle(request, response))
  readonly #handlers: ControlHandlers
  #own: SocketFile | undefined

  /** Opens a control socket, and replaces a stale one. Throws if another app listens at the path. */
  static async open(path: string, handlers: ControlHandlers): Promise<ControlServer> {
    const server = new ControlServer(requireShort(path), handlers)
    await server.#claim()
    return server
  }

  private constructor(path: string, handlers: ControlHandlers) {
    this.path = path
    this.#handlers = handlers
  }

  /** Removes the socket file if it still belongs to this server, and closes idle connections. */
  close(): void {
    this.#unlink()
    this.#server.close()
    this.#server.closeIdleConnections()
    // A connection that still follows the log must not keep the process alive.
    this.#server.unref()
  }

  #unlink(): void {
    const isOwn = this.#own !== undefined && isSame(this.#own, socketFile(this.path))
    this.#own = undefined
    if (isOwn) unlinkSync(this.path)
  }

  async #claim(): Promise<void> {
    try {
      return await this.#listen()
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'))
        throw listenError(this.path, error)
    }
    const found = socketFile(this.path)
    if (found !== undefined && !found.isSocket()) {
      throw new CommandError(`the control socket cannot be opened: ${this.path} exists and is no socket`)
    }
    if (await answers(this.path)) throw new AlreadyRunning(this.path)
    if (found !== undefined) this.#removeStale(found)
    try {
      await this.#listen()
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') throw new AlreadyRunning(this.path)
      throw listenError(this.path, error)
    }
  }

  /** Removes the socket file of a dead parent, unless another parent has replaced the file in the meantime. */
  #removeStale(stale: SocketFile): void {
    const aside = `${this.path}.${process.pid}`
    try {
      // If several parents call rename(2), only one call succeeds. Between lstat(2) and unlink(2), another parent could replace the
      // file.
      renameSync(this.path, aside)
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return
      throw listenError(this.path, error)
    }
    const isStale = isSame(stale, socketFile(aside))
    try {
      if (!isStale) linkSync(aside, this.path)
    } finally {
      unlinkSync(aside)
    }
    if (!isStale) throw new AlreadyRunning(this.path)
  }

  #listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      // bind(2) creates the file during this call, so another user can never connect.
      const umask = process.umask(0o177)
      try {
        this.#server.listen(this.path, () => {
          this.#server.off('error', reject)
          chmodSync(this.path, 0o600)
          this.#own = socketFile(this.path)
          resolve()
        })
      } finally {
        process.umask(umask)
      }
    })
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost')
    request.resume()
    try {
      const handler = this.#handlers[`${request.method} ${url.pathname}`]
      if (handler === undefined) throw new CommandError(`there is no ${request.method} ${url.pathname}`, EXIT.usage)
      await handler(response, url.searchParams)
    } catch (error) {
      if (response.headersSent) response.destroy()
      else sendJson(response, controlError(error), 500)
    }
  }
}

type SocketFile = BigIntStats

function socketFile(path: string): SocketFile | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })
}

/** Returns whether both are the same file. A file system may reuse the inode number of a removed file. */
function isSame(one: SocketFile, other: SocketFile | undefined): boolean {
  return one.ino === other?.ino && one.mtimeNs === other.mtimeNs
}

/** Another parent listens on the control socket. */
export class AlreadyRunning extends CommandError {
  readonly path: string

  constructor(path: string) {
    super(`another app answers at ${path}`)
    this.path = path
  }
}

/** Sends a value as JSON. */
export function sendJson(response: ServerResponse, value: object, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(value)}\n`)
}

function controlError(error: unknown): ControlError {
  const exitCode = error instanceof CommandError ? error.exitCode : EXIT.failed
  return { error: reasonOf(error), exitCode }
}

function listenError(path: string, error: unknown): CommandError {
  return new CommandError(`the control socket ${path} cannot be opened: ${reasonOf(error)}`, EXIT.failed, error)
}
