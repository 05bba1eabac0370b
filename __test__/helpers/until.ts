import { setTimeout as delay } from 'node:timers/promises'

/** Waits until a condition holds; rejects with its source after `timeout` milliseconds, by default 60000. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  { timeout = 60_000 }: { timeout?: number } = {},
): Promise<void> {
  const deadline = performance.now() + timeout
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Not true within ${timeout} ms: ${condition}`)
    await delay(5)
  }
}
