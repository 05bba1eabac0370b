import { closeSync, openSync } from 'node:fs'

/**
 * The terminal in which this command runs. A closed terminal sends SIGHUP, the signal that also asks for a reload, and only the state of
 * the terminal tells which of the two is meant.
 */
export class ControllingTerminal {
  /** Output that goes elsewhere, as with nohup(1), means that the command is to outlive the terminal. */
  readonly #isUsed = (process.stdout.isTTY || process.stderr.isTTY) && canOpen()

  /** Returns whether the terminal has been closed since the start. */
  isClosed(): boolean {
    return this.#isUsed && !canOpen()
  }
}

/** Returns whether this process has a controlling terminal; without one the error is ENXIO, tty(4). */
function canOpen(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}
