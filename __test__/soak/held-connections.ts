// Records in a file which connections a worker holds, so that they are known after a kill.

import cluster from 'node:cluster'
import { subscribe } from 'node:diagnostics_channel'
import { existsSync, openSync, readFileSync, writeSync } from 'node:fs'
import type { Server } from 'node:http'
import { join } from 'node:path'
import { isMainThread, threadId } from 'node:worker_threads'

/** Returns the name of a worker in its answers and of its notes file. */
export function workerName(worker: { pid?: number | undefined; threadId?: number | undefined }): string {
  return worker.threadId === undefined ? `p${worker.pid}` : `t${worker.threadId}`
}

export const MY_NAME = workerName(isMainThread ? { pid: process.pid } : { threadId })

/** In a worker: notes each connection that it takes, with the port of the client, and the end of each. */
export function noteConnections(directory: string, server: Server): void {
  // A note is one write(2) before anything else happens to the connection, so a kill cannot lose it.
  const file = openSync(join(directory, MY_NAME), 'a')
  const note = (sign: '+' | '-', id: unknown, port: unknown): void => {
    writeSync(file, `${sign} ${id} ${port}\n`)
  }
  if (!cluster.isWorker) {
    subscribe('socketserver:connection:taken', (message) => note('+', Object(message).id, Object(message).remotePort))
    subscribe('socketserver:connection:over', (message) => note('-', Object(message).id, 0))
    return
  }
  // With cluster only the events of the worker's server are visible.
  let next = 0
  server.prependListener('connection', (socket) => {
    const id = ++next
    note('+', id, socket.remotePort)
    socket.once('close', () => note('-', id, 0))
  })
}

/** The connections that a worker held at the end of its notes. */
export interface Holdings {
  /** The ports of the clients. */
  ports: ReadonlySet<number>
  /** Whether the last note was the end of a connection, which the parent may not have counted. */
  isLastOver: boolean
}

export function readHoldings(directory: string, name: string): Holdings {
  const path = join(directory, name)
  const lines = existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n') : []
  const held = new Map<string, number>()
  for (const line of lines) {
    const [sign, id = '', port] = line.split(' ')
    if (sign === '+') held.set(id, Number(port))
    else held.delete(id)
  }
  return { ports: new Set(held.values()), isLastOver: lines.at(-1)?.startsWith('-') ?? false }
}
