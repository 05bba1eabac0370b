import { setTimeout as delay } from 'node:timers/promises'

/** Waits until a condition holds; rejects, quoting it, when it does not within `timeout` milliseconds. Default 30000. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  { timeout = 30_000 }: { timeout?: number } = {},
): Promise<void> {
  const deadline = performance.now() + timeout
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Not so within ${timeout} ms: ${condition}`)
    await delay(5)
  }
}
