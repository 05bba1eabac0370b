import { existsSync } from 'node:fs'

/** In a fixture: blocks this thread and its event loop for some milliseconds. */
export function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}

/** In a fixture: blocks this thread and its event loop until a file exists, or for a minute if the test has ended without it. */
export function blockUntilFile(path: string): void {
  const end = performance.now() + 60_000
  while (!existsSync(path) && performance.now() < end) block(5)
}
