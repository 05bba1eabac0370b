// Adds up what `cargo test` and ava report, so that `npm test` can close with one line: `N passed, N failed`.
// Only what they print for people is read, because that is all a person sees as well.

import { stripVTControlCharacters } from 'node:util'

/** @typedef {{ passed: number, failed: number }} Tally */

/**
 * One `test result:` line a test binary. A binary that did not compile, or that died, reports nothing: then the exit
 * code counts as one failure.
 *
 * @param {string} output
 * @param {number} code
 * @returns {Tally}
 */
export function cargoTally(output, code) {
  const lines = [...stripVTControlCharacters(output).matchAll(/^test result: .* (\d+) passed; (\d+) failed/gm)]
  return atLeastOneFailure(
    {
      passed: lines.reduce((sum, line) => sum + Number(line[1]), 0),
      failed: lines.reduce((sum, line) => sum + Number(line[2]), 0),
    },
    code,
  )
}

/**
 * ava's summary. It leaves out how many passed as soon as one has failed, so those are counted by their check marks.
 *
 * @param {string} output
 * @param {number} code
 * @returns {Tally}
 */
export function avaTally(output, code) {
  const text = stripVTControlCharacters(output)
  const passed = [...text.matchAll(/^ +(\d+) tests? passed$/gm)].at(-1)?.[1]
  const failures = text.matchAll(
    /^ +(\d+) (?:tests? failed|hooks? failed|unhandled rejections?|uncaught exceptions?|tests? remained pending after a timeout)\b/gm,
  )
  return atLeastOneFailure(
    {
      passed: passed === undefined ? [...text.matchAll(/^ +[✔√] /gm)].length : Number(passed),
      failed: [...failures].reduce((sum, line) => sum + Number(line[1]), 0),
    },
    code,
  )
}

/**
 * @param {readonly Tally[]} tallies
 * @returns {Tally}
 */
export function sum(tallies) {
  return {
    passed: tallies.reduce((total, { passed }) => total + passed, 0),
    failed: tallies.reduce((total, { failed }) => total + failed, 0),
  }
}

/**
 * @param {Tally} tally
 * @param {number} code
 * @returns {Tally}
 */
function atLeastOneFailure(tally, code) {
  return code !== 0 && tally.failed === 0 ? { ...tally, failed: 1 } : tally
}
