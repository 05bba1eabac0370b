/**
 * Runs a user's handler. Rethrows its error as an uncaught exception, as `net` does, but in the next tick, so that the other
 * connections of this turn are still delivered. Returns whether the handler has thrown.
 */
export function uncaught(handler: () => void): boolean {
  try {
    handler()
    return false
  } catch (error) {
    process.nextTick(() => {
      throw error
    })
    return true
  }
}
