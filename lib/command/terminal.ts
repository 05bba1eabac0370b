import { closeSync, openSync } from 'node:fs'

/**
 * The terminal in which this command runs. SIGHUP means a reload or a closed terminal. The state of the terminal distinguishes the
 * two cases.
 */
export class ControllingTerminal {
  /** If the output does not go to the terminal, as with nohup(1), the command must continue after the terminal closes. */
  readonly #isUsed = (process.stdout.isTTY || process.stderr.isTTY) && canOpen()

  /** Returns whether the terminal has been closed since the start. */
  isClosed(): boolean {
    return this.#isUsed && !canOpen()
  }
}

/** Returns whether this process has a controlling terminal. Without a terminal, open(2) fails with ENXIO: tty(4). */
function canOpen(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}
