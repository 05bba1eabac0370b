// Runs in the PARENT: merges the metrics of the app from all workers. The counterpart is client/metrics/expose-metrics.ts.

import type { ChildProcess } from 'node:child_process'
import { createRequire } from 'node:module'
import { BroadcastChannel } from 'node:worker_threads'
import {
  isWorkerMessage,
  METRICS_COMMAND,
  type MetricObject,
  type MetricsRequest,
  metricsChannel,
  type WorkerMessage,
} from '../../metrics-messages.js'
import type { NativeServer } from '../../native.js'

/** The methods of the native server that the merge uses. */
export type AppMetricsPort = Pick<NativeServer, 'offerAppMetrics' | 'answerAppMetrics'>

/** The exports of prom-client that the merge uses. */
interface Merger {
  AggregatorRegistry: { aggregate(metrics: MetricObject[][], contentType: string): MergedRegistry }
  Registry: { PROMETHEUS_CONTENT_TYPE: string; OPENMETRICS_CONTENT_TYPE: string }
}

interface MergedRegistry {
  metrics(): Promise<string>
  getMetricsAsJSON(): Promise<MetricObject[]>
}

/** A worker that has exposed metrics. */
interface Source {
  entry: string
  request: (message: MetricsRequest) => void
  /** Its latest answer. */
  latest: MetricObject[]
  waiting: Map<number, (reply: WorkerMessage | undefined) => void>
}

/** The metrics of the app in all workers of one server. */
export class AppMetrics {
  readonly #native: AppMetricsPort
  readonly #report: (error: Error) => void
  readonly #sources = new Map<number, Source>()
  /** The entries of worker threads by the worker's id. */
  readonly #threads = new Map<number, string>()
  readonly #server: string
  /** The last known counters and histograms of exited workers. */
  readonly #ended: MetricObject[][] = []
  #channel: BroadcastChannel | undefined
  #merger: Merger | undefined
  #hasFailed = false

  /** `server` identifies the server within this process. */
  constructor(native: AppMetricsPort, server: string, report: (error: Error) => void) {
    this.#native = native
    this.#server = server
    this.#report = report
  }

  /** Listens for the metrics of a worker process. */
  addProcess(worker: number, entry: string, child: ChildProcess): void {
    child.on('internalMessage', (message: unknown) => {
      if (!isWorkerMessage(message)) return
      // Fails if the process has exited, which `remove` handles.
      this.#receive({ ...message, worker }, entry, (request) => child.send(request, () => {}))
    })
  }

  /** Listens for the metrics of a worker thread. */
  addThread(worker: number, entry: string): void {
    this.#threads.set(worker, entry)
    if (this.#channel !== undefined) return
    const channel = new BroadcastChannel(metricsChannel(this.#server))
    channel.onmessage = ({ data }: { data?: unknown }) => {
      if (!isWorkerMessage(data)) return
      const threadEntry = this.#threads.get(data.worker)
      if (threadEntry !== undefined) this.#receive(data, threadEntry, undefined)
    }
    channel.unref()
    this.#channel = channel
  }

  /** Removes a worker that has exited, and keeps its counters, so that no sum decreases. */
  remove(worker: number): void {
    this.#threads.delete(worker)
    const source = this.#sources.get(worker)
    if (source === undefined) return
    this.#sources.delete(worker)
    for (const settle of source.waiting.values()) settle(undefined)
    if (source.latest.length > 0) this.#ended.push(lasting(source.latest))
  }

  /** Stops listening to threads. */
  close(): void {
    this.#channel?.close()
    this.#channel = undefined
  }

  /** Answers a request of the native server: asks all workers, and omits workers that do not answer within a second. */
  async answer(id: number, isOpenMetrics: boolean): Promise<void> {
    const counts = { ok: 0, late: 0, failed: 0 }
    const replies = this.#ask(id)
    const metrics = await Promise.all(
      replies.map(async ([source, asked]) => {
        const reply = await asked
        if (reply?.metrics !== undefined) {
          counts.ok += 1
          source.latest = reply.metrics
          return reply.metrics
        }
        counts[reply === undefined ? 'late' : 'failed'] += 1
        // The counters of a worker without an answer stay in the result. Otherwise the sums would decrease.
        return lasting(source.latest)
      }),
    )
    const [entry] = Array.from(this.#sources.values(), (source) => source.entry)
    let text = ''
    try {
      text = await this.#merge([...metrics, ...this.#ended], entry, isOpenMetrics)
    } catch (error) {
      counts.failed += counts.ok
      counts.ok = 0
      if (!this.#hasFailed && error instanceof Error) this.#report(error)
      this.#hasFailed = true
    }
    this.#native.answerAppMetrics(id, { text, ...counts })
  }

  #ask(id: number): [Source, Promise<WorkerMessage | undefined>][] {
    const asked = Array.from(this.#sources.values(), (source): [Source, Promise<WorkerMessage | undefined>] => [
      source,
      new Promise((resolve) => {
        const settle = (reply: WorkerMessage | undefined): void => {
          clearTimeout(timer)
          source.waiting.delete(id)
          resolve(reply)
        }
        const timer = setTimeout(settle, LIMIT, undefined)
        source.waiting.set(id, settle)
      }),
    ])
    const message: MetricsRequest = { cmd: METRICS_COMMAND, id }
    for (const [source] of asked) source.request(message)
    this.#channel?.postMessage(message)
    return asked
  }

  #receive(message: WorkerMessage, entry: string, request: Source['request'] | undefined): void {
    const source = this.#sources.get(message.worker)
    if (source !== undefined) {
      if (message.id !== undefined) source.waiting.get(message.id)?.(message)
      return
    }
    // A thread needs no function, because one channel sends the request to all threads.
    this.#sources.set(message.worker, { entry, request: request ?? (() => {}), latest: [], waiting: new Map() })
    this.#native.offerAppMetrics()
  }

  async #merge(metrics: MetricObject[][], entry: string | undefined, isOpenMetrics: boolean): Promise<string> {
    if (this.#merger === undefined) {
      if (entry === undefined) return ''
      this.#merger = loadMerger(entry)
    }
    const { AggregatorRegistry, Registry } = this.#merger
    const type = isOpenMetrics ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE
    if (this.#ended.length > MAX_ENDED) {
      const ended = this.#ended.splice(0)
      this.#ended.push(await AggregatorRegistry.aggregate(ended, type).getMetricsAsJSON())
    }
    const prepared = metrics.map((list) => list.map((metric) => withFamilyName(withMaximum(metric), isOpenMetrics)))
    const text = await AggregatorRegistry.aggregate(prepared, type).metrics()
    return text.replace(/# EOF\n$/, '')
  }
}

/** Loads prom-client from the path of the worker's entry, so that the parent uses the app's version. */
function loadMerger(entry: string): Merger {
  const loaded: Merger = createRequire(entry)('prom-client')
  return loaded
}

/** Returns the metrics that never decrease. */
function lasting(metrics: readonly MetricObject[]): MetricObject[] {
  return metrics.filter(({ type }) => type === 'counter' || type === 'histogram')
}

/** Replaces the mean of event-loop delays by their maximum: the mean of 16 workers hides one worker with a blocked event loop. */
function withMaximum(metric: MetricObject): MetricObject {
  return metric.name.startsWith('nodejs_eventloop_lag') ? { ...metric, aggregator: 'max' } : metric
}

/** Removes the suffix of a counter for OpenMetrics: prom-client 15 adds a second one to merged counters. */
function withFamilyName(metric: MetricObject, isOpenMetrics: boolean): MetricObject {
  if (!isOpenMetrics || metric.type !== 'counter') return metric
  return { ...metric, name: metric.name.replace(/_total$/, '') }
}

/** The maximum number of exited workers whose metrics are kept separately. */
const MAX_ENDED = 8

/** The time in milliseconds for the answer of a worker. */
const LIMIT = 1000
