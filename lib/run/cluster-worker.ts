import cluster from 'node:cluster'
import type { EventEmitter } from 'node:events'

/** Closes every server of the app, and calls `closed` when all servers have closed. */
export type CloseServers = (closed: () => void) => void

/** Returns the `cluster.worker` of an app. `disconnect()`, `destroy()` and `kill()` behave as in a worker of `cluster`. */
export function clusterWorker(id: number, closeServers: CloseServers): EventEmitter {
  // The constructor gets no `process`, for which it would add a listener for messages. Such a listener keeps the process alive.
  const Worker: new () => EventEmitter = Reflect.get(cluster, 'Worker')
  const worker = Object.assign(new Worker(), { id, process, state: 'online' })
  const disconnect = (): EventEmitter => {
    if (LEAVING.includes(worker.state)) return worker
    Object.assign(worker, { state: 'disconnecting', exitedAfterDisconnect: true })
    closeServers(() => {
      if (process.connected) process.disconnect?.()
    })
    return worker
  }
  const destroy = (): void => {
    if (worker.state === 'destroying') return
    Object.assign(worker, { state: 'destroying', exitedAfterDisconnect: true })
    if (!process.connected) process.exit(0)
    process.once('disconnect', () => process.exit(0))
    process.disconnect?.()
  }
  forwardEvents(worker)
  return Object.assign(worker, { disconnect, destroy })
}

/**
 * Forwards the events of the process to the worker. Adds a listener to the process only for an event that the app listens for,
 * because a listener for messages keeps the process alive.
 */
function forwardEvents(worker: EventEmitter): void {
  const left = new Set<string | symbol>(['message', 'disconnect', 'error'])
  worker.on('newListener', (event: string | symbol) => {
    if (!left.delete(event)) return
    process.on(String(event), (...given: unknown[]) => void worker.emit(event, ...given))
  })
}

const LEAVING = ['disconnecting', 'destroying']
