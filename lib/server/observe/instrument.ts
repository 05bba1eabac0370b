// Registers the counters of a server with OpenTelemetry. The interfaces declare the used members of @opentelemetry/api, which
// remains an optional dependency.

import type { ServerStats } from '../stats.js'

/** A meter of OpenTelemetry. */
export interface Meter {
  /** Creates a counter whose values come from callbacks. */
  createObservableCounter(name: string, options: InstrumentOptions): object
  /** Creates a counter that may decrease and whose values come from callbacks. */
  createObservableUpDownCounter(name: string, options: InstrumentOptions): object
  /** Adds a callback, which the meter calls when it exports. */
  // biome-ignore lint/suspicious/noExplicitAny: the type of an instrument is that of the API's version
  addBatchObservableCallback(callback: (result: ObservableResult) => void, observables: any[]): void
  /** Removes a callback. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  removeBatchObservableCallback(callback: (result: ObservableResult) => void, observables: any[]): void
}

interface InstrumentOptions {
  description: string
  unit: string
}

interface ObservableResult {
  // biome-ignore lint/suspicious/noExplicitAny: as above
  observe(observable: any, value: number, attributes?: Record<string, string>): void
}

/** Registers the counters of a server. Returns a function that removes them. */
export function instrument(meter: Meter, stats: () => ServerStats): () => void {
  const counters = COUNTERS.map(([name, description, read]) => {
    const options = { description, unit: '{connection}' }
    return { instrument: meter.createObservableCounter(`socketserver.${name}`, options), read }
  })
  const open = meter.createObservableUpDownCounter('socketserver.connections', {
    description: 'Open connections by state.',
    unit: '{connection}',
  })
  const workers = meter.createObservableUpDownCounter('socketserver.workers', {
    description: 'Workers by state.',
    unit: '{worker}',
  })
  const restarts = meter.createObservableCounter('socketserver.worker.restarts', {
    description: 'Workers started to replace one that exited.',
    unit: '{worker}',
  })
  const errors = meter.createObservableCounter('socketserver.accept.errors', {
    description: 'Failed calls of accept(2) by error code.',
    unit: '{error}',
  })
  const observables = [...counters.map(({ instrument: each }) => each), open, workers, restarts, errors]
  const observe = (result: ObservableResult): void => {
    const now = stats()
    for (const { instrument: counter, read } of counters) result.observe(counter, read(now))
    result.observe(open, now.queued, { state: 'queued' })
    result.observe(open, now.leases, { state: 'leased' })
    for (const [state, count] of Object.entries(now.states)) result.observe(workers, count, { state })
    result.observe(restarts, now.restarts)
    for (const [code, count] of Object.entries(now.acceptErrors)) result.observe(errors, count, { code })
  }
  meter.addBatchObservableCallback(observe, observables)
  return () => meter.removeBatchObservableCallback(observe, observables)
}

const COUNTERS: readonly [string, string, (stats: ServerStats) => number][] = [
  ['connections.accepted', 'Accepted connections.', ({ accepted }) => accepted],
  ['connections.handed_off', 'Connections that workers have taken.', ({ handedOff }) => handedOff],
  ['connections.requeued', 'Returns of connections to the queue.', ({ requeued }) => requeued],
  ['connections.handed_back', 'Connections that workers have handed back.', ({ handedBack }) => handedBack],
  ['connections.shed', 'Connections that were reset before a worker took them.', ({ shed }) => shed],
  ['connections.cut', 'Connections that ended because their worker did.', ({ cut }) => cut],
]
