// Runs in the PARENT. A peer that rejoins and fails in a loop is reported once per interval.

import type { SocketServerError } from '../errors.js'

/** Milliseconds in which errors of one kind are combined. */
const INTERVAL = 10_000

/** Reports the first error of a kind at once, and the following errors of an interval as one error with their number. */
export class RepeatedErrors {
  readonly #report: (error: SocketServerError) => void
  readonly #interval: number
  readonly #kinds = new Map<string, Repeated>()

  constructor(report: (error: SocketServerError) => void, interval = INTERVAL) {
    this.#report = report
    this.#interval = interval
  }

  /** Reports an error, now or at the end of the interval. `createError` gets the number of occurrences. */
  add(kind: string, createError: (count: number) => SocketServerError): void {
    const repeated = this.#kinds.get(kind)
    if (repeated) {
      repeated.count += 1
      repeated.createError = createError
      return
    }
    this.#begin(kind, createError)
    this.#report(createError(1))
  }

  #begin(kind: string, createError: (count: number) => SocketServerError): void {
    this.#kinds.set(kind, { count: 0, createError })
    // A summary alone does not keep the parent alive.
    setTimeout(() => this.#summarize(kind), this.#interval).unref()
  }

  #summarize(kind: string): void {
    const repeated = this.#kinds.get(kind)
    this.#kinds.delete(kind)
    if (repeated === undefined || repeated.count === 0) return
    this.#begin(kind, repeated.createError)
    this.#report(repeated.createError(repeated.count))
  }
}

interface Repeated {
  /** Errors since the last report. */
  count: number
  createError: (count: number) => SocketServerError
}
