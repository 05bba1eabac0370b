// Runs in the PARENT: a peer that fails as fast as it can join again is told of once per interval.

import type { SocketServerError } from '../errors.js'

/** Milliseconds in which errors of one kind are summed up. */
const INTERVAL = 10_000

/** Errors of one kind: the first is reported at once, those that follow within the interval as one, with their number. */
export class RepeatedErrors {
  readonly #report: (error: SocketServerError) => void
  readonly #interval: number
  readonly #kinds = new Map<string, Repeated>()

  constructor(report: (error: SocketServerError) => void, interval = INTERVAL) {
    this.#report = report
    this.#interval = interval
  }

  /** Reports the error that `make` makes of a count, now or at the end of the interval. */
  add(kind: string, make: (count: number) => SocketServerError): void {
    const repeated = this.#kinds.get(kind)
    if (repeated) {
      repeated.count += 1
      repeated.make = make
      return
    }
    this.#begin(kind, make)
    this.#report(make(1))
  }

  #begin(kind: string, make: (count: number) => SocketServerError): void {
    this.#kinds.set(kind, { count: 0, make })
    // A parent that has nothing else to do ends without the summary.
    setTimeout(() => this.#summarize(kind), this.#interval).unref()
  }

  #summarize(kind: string): void {
    const repeated = this.#kinds.get(kind)
    this.#kinds.delete(kind)
    if (repeated === undefined || repeated.count === 0) return
    this.#begin(kind, repeated.make)
    this.#report(repeated.make(repeated.count))
  }
}

interface Repeated {
  /** Errors since the last report. */
  count: number
  make: (count: number) => SocketServerError
}
