// What is being measured right now, for whoever waits.

import { number } from './table.mjs'
import { Unmeasured } from './unmeasured.mjs'

/** On a terminal one line that changes, elsewhere a line for each. */
export class Progress {
  #done = 0
  #total
  #began = performance.now()

  /** @param {number} total measurements to come */
  constructor(total) {
    this.#total = total
  }

  /**
   * One more has been measured.
   *
   * @param {string} where
   * @param {import('./types.js').Group} group
   * @param {import('./types.js').Subject} subject
   * @param {number} round
   * @param {import('./types.js').Figures | Unmeasured} found
   */
  tell(where, group, subject, round, found) {
    this.#done += 1
    const [column] = group.columns
    const shown =
      found instanceof Unmeasured || column === undefined
        ? 'failed'
        : `${number(found[column.figure], column.digits)} ${column.unit || column.title}`
    const elapsed = (performance.now() - this.#began) / 1000
    const left = Math.ceil((elapsed / this.#done) * (this.#total - this.#done))
    this.#write(
      `[${this.#done}/${this.#total}, about ${left} s left] ${where}, round ${round + 1}: ${subject.label} ${shown}`,
    )
  }

  /** Makes room for something else. */
  clear() {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  }

  /** @param {string} line */
  #write(line) {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line.slice(0, process.stderr.columns - 1)}`)
    else process.stderr.write(`${line}\n`)
  }
}
