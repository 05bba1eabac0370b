/**
 * Keeps the process alive while this object is held, as a listening `net.Server` does. The native side never keeps an event loop
 * alive, so `ref()` and `unref()` have one implementation.
 */
export class KeepAlive {
  readonly #owner: object | undefined
  #timer: NodeJS.Timeout | undefined
  #isReferenced = true

  /** While this is held, `owner` is not garbage collected either. */
  constructor(owner?: object) {
    this.#owner = owner
  }

  /** Keeps the process alive, unless `unref()` was called. */
  hold(): void {
    if (this.#timer !== undefined) return
    // A timer keeps the event loop alive at no cost. This one fires every 25 days. Its argument is a strong reference to the owner.
    this.#timer = setInterval((_owner: object | undefined) => {}, LONGEST_TIMER, this.#owner)
    if (!this.#isReferenced) this.#timer.unref()
  }

  /** No longer keeps the process alive. */
  release(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Holds or releases. */
  set(isHeld: boolean): void {
    if (isHeld) this.hold()
    else this.release()
  }

  /** Makes `hold()` keep the process alive, which is the default. */
  ref(): void {
    this.#isReferenced = true
    this.#timer?.ref()
  }

  /** Lets the process exit even while this is held. */
  unref(): void {
    this.#isReferenced = false
    this.#timer?.unref()
  }
}

const LONGEST_TIMER = 2 ** 31 - 1
