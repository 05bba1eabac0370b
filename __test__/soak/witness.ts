// What a worker holds, noted in a file as it happens, so that it is known of one that was killed.

import cluster from 'node:cluster'
import { subscribe } from 'node:diagnostics_channel'
import { existsSync, openSync, readFileSync, writeSync } from 'node:fs'
import type { Server } from 'node:http'
import { join } from 'node:path'
import { isMainThread, threadId } from 'node:worker_threads'

/** What a worker is called in its answers, and its file of notes. */
export function workerName(worker: { pid?: number | undefined; threadId?: number | undefined }): string {
  return worker.threadId === undefined ? `p${worker.pid}` : `t${worker.threadId}`
}

export const MY_NAME = workerName(isMainThread ? { pid: process.pid } : { threadId })

/** In a worker: notes each connection that it takes, with its client's port, and each that is over. */
export function noteConnections(directory: string, server: Server): void {
  // A note is one write(2), done before anything else happens to the connection: a kill cannot take it back.
  const file = openSync(join(directory, MY_NAME), 'a')
  const note = (sign: '+' | '-', id: unknown, port: unknown): void => {
    writeSync(file, `${sign} ${id} ${port}\n`)
  }
  if (!cluster.isWorker) {
    subscribe('socketserver:connection:taken', (message) => note('+', Object(message).id, Object(message).remotePort))
    subscribe('socketserver:connection:over', (message) => note('-', Object(message).id, 0))
    return
  }
  // Of cluster there is no more to see than what its worker's server sees.
  let next = 0
  server.prependListener('connection', (socket) => {
    const id = ++next
    note('+', id, socket.remotePort)
    socket.once('close', () => note('-', id, 0))
  })
}

/** What a worker held when its notes end. */
export interface Holdings {
  /** Its clients' ports. */
  ports: ReadonlySet<number>
  /** The last note was that a connection is over, which may not have been counted any more. */
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
