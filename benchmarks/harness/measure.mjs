// Measures the lines of a group in turn, round after round.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PeerProcess } from './peer-process.mjs'
import { Unmeasured } from './unmeasured.mjs'

/**
 * What one line's rounds gave: figures of every round, or why there are none. One failure spoils the line, because
 * what is left would be a choice of the rounds that went well.
 *
 * @typedef {object} Measured
 * @property {import('./types.js').Figures[]} rounds
 * @property {string} [failure]
 */

/**
 * Measures every line once a round, beginning with another one in each, so that no line always follows the same.
 *
 * @param {import('./types.js').Group} group
 * @param {import('./options.mjs').Options} options
 * @param {(subject: import('./types.js').Subject, round: number, found: import('./types.js').Figures | Unmeasured) => void} tell
 * @returns {Promise<Map<string, Measured>>} by subject's name
 */
export async function measureGroup(group, options, tell) {
  /** @type {Map<string, Measured>} */
  const results = new Map(group.subjects.map(({ name }) => [name, { rounds: [] }]))
  for (let round = 0; round < options.rounds; round++) {
    const first = round % group.subjects.length
    for (const subject of [...group.subjects.slice(first), ...group.subjects.slice(0, first)]) {
      const measured = results.get(subject.name)
      if (measured === undefined || measured.failure !== undefined) continue
      const found = await measureOnce(subject, options, round)
      if (found instanceof Unmeasured) measured.failure = found.message
      else measured.rounds.push(found)
      tell(subject, round, found)
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
  const sweep = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', sweep)
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
    if (error instanceof Unmeasured) return error
    throw error
  } finally {
    await Promise.all(started.map((running) => running.stop()))
    process.off('exit', sweep)
    sweep()
  }
}
