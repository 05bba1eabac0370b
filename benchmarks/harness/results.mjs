// Writes the results of a run: JSON, Markdown and charts.

import { mkdirSync, writeFileSync } from 'node:fs'
import { arch, cpus, loadavg, platform } from 'node:os'
import { dirname, join } from 'node:path'
import { chart } from './chart.mjs'
import { groupReport } from './report.mjs'

/**
 * @typedef {object} GroupResult
 * @property {string} caseName
 * @property {string} title of the case
 * @property {import('./types.js').Group} group
 * @property {import('./summary.mjs').Summary} summary
 */

/** @typedef {ReturnType<typeof environment>} Environment */

/**
 * Describes where a run took place. Numbers of different runs are not comparable; ratios within a run are.
 *
 * @param {import('./options.mjs').Options} options
 */
export function environment({ version, quick, rounds }) {
  return { node: version, quick, rounds, platform: `${platform()}-${arch()}`, cores: cpus().length, load: loadavg() }
}

/**
 * @param {string} path
 * @param {Environment} start
 * @param {readonly GroupResult[]} results
 */
export function saveJson(path, start, results) {
  const cases = results.map(({ caseName, group, summary }) => ({
    case: caseName,
    group: group.name,
    title: group.title,
    baseline: group.baseline,
    ...summary,
  }))
  save(path, JSON.stringify({ ...start, loadAfter: loadavg(), cases }, null, 2))
}

/**
 * @param {string} path
 * @param {Environment} start
 * @param {readonly GroupResult[]} results
 */
export function saveMarkdown(path, start, results) {
  const load = (/** @type {number[]} */ values) => values.map((value) => value.toFixed(1)).join(', ')
  const sections = results.map(({ title, group, summary }, index) => {
    const heading = results[index - 1]?.title === title ? '' : `## ${title}\n\n`
    return heading + groupReport(group, summary)
  })
  save(
    path,
    `# Results of one run

Written by \`npm run bench -- --markdown\`. [The README](../README.md) describes the cases.

Node ${start.node}, ${start.rounds} ${start.quick ? 'short rounds' : 'rounds'}, ${start.cores} cores, shared with the load generator. Load average (1, 5, 15 minutes)
before: ${load(start.load)}; after: ${load(loadavg())}.
Values are medians of the rounds. Ratios are taken within each round, and shown as median (least-greatest).

${sections.join('\n\n')}`,
  )
}

/**
 * @param {string} folder
 * @param {Environment} start
 * @param {readonly GroupResult[]} results
 */
export function saveCharts(folder, start, results) {
  const note = `Node ${start.node}, median, least and greatest of ${start.rounds} rounds; ${start.cores} cores, shared with the load generator`
  for (const { group, summary } of results) {
    if (group.chart === undefined) continue
    const { metric, title, file } = group.chart
    const bars = summary.rows.flatMap(({ label, metrics }) => {
      const value = metrics[metric]
      return value === undefined ? [] : [{ label, highlighted: label.startsWith('socketserver,'), value }]
    })
    const digits = group.columns.find((column) => column.metric === metric)?.digits ?? 1
    if (bars.length > 0) save(join(folder, `${file}.svg`), chart({ title, note, digits, bars }))
  }
}

/**
 * @param {string} path
 * @param {string} text
 */
function save(path, text) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${text}\n`)
}
