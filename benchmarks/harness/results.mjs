// What a run leaves: the JSON and the pictures.

import { mkdirSync, writeFileSync } from 'node:fs'
import { arch, cpus, loadavg, platform } from 'node:os'
import { dirname, join } from 'node:path'
import { chart } from './chart.mjs'

/**
 * @typedef {object} GroupResult
 * @property {string} caseName
 * @property {string} title of the case
 * @property {import('./types.js').Group} group
 * @property {ReturnType<typeof import('./summary.mjs').summarize>} summary
 */

/**
 * Where a run took place, for whoever compares two of them: only what is measured within one run is comparable.
 *
 * @param {import('./options.mjs').Options} options
 */
export function circumstances({ version, quick, rounds }) {
  return { node: version, quick, rounds, platform: `${platform()}-${arch()}`, cores: cpus().length, load: loadavg() }
}

/**
 * @param {string} path
 * @param {ReturnType<typeof circumstances>} begun
 * @param {readonly GroupResult[]} results
 */
export function saveJson(path, begun, results) {
  const cases = results.map(({ caseName, group, summary }) => ({
    case: caseName,
    group: group.name,
    title: group.title,
    base: group.base,
    ...summary,
  }))
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify({ ...begun, loadAfter: loadavg(), cases }, null, 2)}\n`)
}

/**
 * @param {string} folder
 * @param {ReturnType<typeof circumstances>} begun
 * @param {readonly GroupResult[]} results
 */
export function savePictures(folder, begun, results) {
  mkdirSync(folder, { recursive: true })
  const note = `Node ${begun.node}, median of ${begun.rounds} rounds in turn, least and most; ${begun.cores} cores, shared with the load generator`
  for (const { group, summary } of results) {
    if (group.chart === undefined) continue
    const { figure, title, file } = group.chart
    const lines = summary.lines.flatMap(({ label, figures }) => {
      const value = figures[figure]
      return value === undefined ? [] : [{ label, ours: label.startsWith('here'), value }]
    })
    const digits = group.columns.find((column) => column.figure === figure)?.digits ?? 1
    if (lines.length > 0) writeFileSync(join(folder, `${file}.svg`), chart({ title, note, digits, lines }))
  }
}
