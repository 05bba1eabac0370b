/**
 * Keeps the process alive while something is held, as a listening `net.Server` does.
 * The native side is weak on purpose, so this is the one place that decides it.
 */
export class KeepAlive {
  #timer: NodeJS.Timeout | undefined
  #referenced = true

  hold(): void {
    if (this.#timer !== undefined) return
    // A timer is the one thing that keeps a loop alive at no cost: this one fires every 25 days, and does nothing.
    this.#timer = setInterval(() => {}, LONGEST_TIMER)
    if (!this.#referenced) this.#timer.unref()
  }

  release(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  ref(): void {
    this.#referenced = true
    this.#timer?.ref()
  }

  unref(): void {
    this.#referenced = false
    this.#timer?.unref()
  }
}

const LONGEST_TIMER = 2 ** 31 - 1
