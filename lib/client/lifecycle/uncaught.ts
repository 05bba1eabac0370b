/**
 * Runs a user's handler. What it throws is an uncaught exception, as in `net`, but only once this turn is over, so that
 * it does not take the connections behind its own along. Returns whether the handler has thrown.
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
