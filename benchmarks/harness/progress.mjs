// Shows each measurement as soon as it is done. A terminal shows only the latest one.

import { formatNumber } from './format.mjs'
import { MeasurementError } from './measurement-error.mjs'

/**
 * Returns a function that reports the next measurement on standard error.
 *
 * @param {number} total number of measurements in the run
 */
export function createProgress(total) {
  const start = performance.now()
  let done = 0
  /**
   * @param {string} caseName
   * @param {import('./types.js').Group} group
   * @param {import('./measure.mjs').Measurement} measurement
   */
  return (caseName, { title, columns: [column] }, { subject, round, result }) => {
    done += 1
    const secondsLeft = Math.ceil(((performance.now() - start) / 1000 / done) * (total - done))
    const value =
      result instanceof MeasurementError || column === undefined
        ? 'failed'
        : `${formatNumber(result[column.metric], column.digits)} ${column.unit || column.title}`
    const line = `[${done}/${total}, ${secondsLeft} s left] ${caseName}, ${title}, round ${round + 1}: ${subject.label} ${value}`
    const { isTTY, columns } = process.stderr
    process.stderr.write(isTTY ? `${CLEAR_LINE}${line.slice(0, columns - 1)}` : `${line}\n`)
  }
}

/** Removes the latest measurement from a terminal. */
export function clearProgress() {
  if (process.stderr.isTTY) process.stderr.write(CLEAR_LINE)
}

const CLEAR_LINE = '\r\x1b[K'
