// Measures the subjects of a group in turn, round after round.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MeasurementError } from './measurement-error.mjs'
import { PeerProcess } from './peer-process.mjs'

/**
 * The metrics of all rounds of one subject. One failure discards all rounds: the others would be a biased selection.
 *
 * @typedef {object} Measured
 * @property {import('./types.js').Metrics[]} rounds
 * @property {string} [failure]
 */

/**
 * @typedef {object} Measurement
 * @property {import('./types.js').Subject} subject
 * @property {number} round
 * @property {import('./types.js').Metrics | MeasurementError} result
 */

/**
 * Measures every subject once in each round. Each round starts with the next subject, so that no subject always follows
 * the same one. Returns the results by subject name.
 *
 * @param {import('./types.js').Group} group
 * @param {import('./options.mjs').Options} options
 * @param {(measurement: Measurement) => void} onMeasured
 * @returns {Promise<Map<string, Measured>>}
 */
export async function measureGroup(group, options, onMeasured) {
  /** @type {Map<string, Measured>} */
  const results = new Map(group.subjects.map(({ name }) => [name, { rounds: [] }]))
  for (let round = 0; round < options.rounds; round++) {
    const first = round % group.subjects.length
    for (const subject of [...group.subjects.slice(first), ...group.subjects.slice(0, first)]) {
      const measured = results.get(subject.name)
      if (measured === undefined || measured.failure !== undefined) continue
      const result = await measureOnce(subject, options, round)
      if (result instanceof MeasurementError) measured.failure = result.message
      else measured.rounds.push(result)
      onMeasured({ subject, round, result })
    }
  }
  return results
}

/**
 * @param {import('./types.js').Subject} subject
 * @param {import('./options.mjs').Options} options
 * @param {number} round
 */
async function measureOnce(subject, options, round) {
  /** @type {PeerProcess[]} */
  const started = []
  const folder = mkdtempSync(join(tmpdir(), 'socketserver-benchmark-'))
  const removeFolder = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', removeFolder)
  try {
    return await subject.measure({
      options,
      round,
      folder,
      start: async (peer) => {
        const running = await PeerProcess.start(peer, options)
        started.push(running)
        return running
      },
    })
  } catch (error) {
    if (error instanceof MeasurementError) return error
    throw error
  } finally {
    await Promise.all(started.map((running) => running.stop()))
    process.off('exit', removeFolder)
    removeFolder()
  }
}
