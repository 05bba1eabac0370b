import type { WorkerHandle } from '@socketserver/node'
import { until } from './until.js'

/** A report of a worker: the name of the event and its details. */
export interface Report {
  event: string
  pid: number
  [detail: string]: unknown
}

/** The reports of workers, in the order of arrival. */
export class Reports {
  readonly all: Report[] = []
  #taken = new Set<Report>()

  listenTo(worker: WorkerHandle): void {
    const receive = (message: unknown): void => {
      if (typeof message === 'object' && message !== null && 'event' in message) {
        this.all.push({ ...message, event: String(message.event), pid: worker.pid ?? 0 })
      }
    }
    worker.process?.on('message', receive)
    worker.thread?.on('message', receive)
  }

  /** Waits for the first report of this event that was not returned before. */
  async next(event: string): Promise<Report> {
    const find = (): Report | undefined => this.all.find((report) => report.event === event && !this.#taken.has(report))
    try {
      await until(() => find() !== undefined)
    } catch (cause) {
      throw new Error(`No worker has reported '${event}', only ${JSON.stringify(this.all)}`, { cause })
    }
    const report = find()
    if (report === undefined) throw new Error(`No report of '${event}'`)
    this.#taken.add(report)
    return report
  }

  count(event: string): number {
    return this.all.filter((report) => report.event === event).length
  }
}
