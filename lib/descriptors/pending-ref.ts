import { KeepAlive } from '../keep-alive.js'

/**
 * Whether somebody waits for something of a stream or listener: then it keeps the process alive and is not collected. One
 * that nobody waits for is closed when nobody has it any more.
 */
export class Occupation {
  readonly #owner: object
  readonly #keepAlive = new KeepAlive()

  constructor(owner: object) {
    this.#owner = owner
  }

  set(isAwaited: boolean): void {
    if (isAwaited) {
      AWAITED.add(this.#owner)
      this.#keepAlive.hold()
    } else {
      AWAITED.delete(this.#owner)
      this.#keepAlive.release()
    }
  }

  ref(): void {
    this.#keepAlive.ref()
  }

  unref(): void {
    this.#keepAlive.unref()
  }
}

/** The promise that a caller waits for holds nothing by itself. */
const AWAITED = new Set<object>()
