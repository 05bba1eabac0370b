// Runs the chosen cases and reports the results.

import { loadavg } from 'node:os'
import { build } from '../scripts/build.mjs'
import { setup } from '../scripts/setup.mjs'
import { Failed, run, step } from '../scripts/steps.mjs'
import { cases } from './cases/index.mjs'
import { measureGroup } from './harness/measure.mjs'
import { HELP, parseOptions, TARGET_NODE } from './harness/options.mjs'
import { clearProgress, createProgress } from './harness/progress.mjs'
import { groupReport, targetTable } from './harness/report.mjs'
import { environment, saveCharts, saveJson, saveMarkdown } from './harness/results.mjs'
import { summarize } from './harness/summary.mjs'

/** @param {readonly string[]} args */
export async function bench(args) {
  const names = cases.map(({ name }) => name)
  const options = parseOptions(args, names)
  if (options === undefined) {
    console.log(`${HELP}\nCases:\n${cases.map(({ name, title }) => `  ${name.padEnd(10)}${title}`).join('\n')}`)
    return
  }
  if (!options.prebuilt) {
    await setup()
    await build()
    await step('Building the load generator', () =>
      run('cargo', ['build', '--release', '--package', 'socketserver-load']),
    )
  }
  const start = environment(options)
  console.log(introduction(options))
  const chosen = cases
    .filter(({ name }) => options.cases.length === 0 || options.cases.includes(name))
    .flatMap(({ name, title, groups }) => groups(options).map((group) => ({ caseName: name, title, group })))
  const subjects = chosen.reduce((sum, { group }) => sum + group.subjects.length, 0)
  const showProgress = createProgress(subjects * options.rounds)
  /** @type {import('./harness/results.mjs').GroupResult[]} */
  const results = []
  for (const { caseName, title, group } of chosen) {
    const measured = await measureGroup(group, options, (measurement) => showProgress(caseName, group, measurement))
    const summary = summarize(group, measured)
    clearProgress()
    const heading = results.at(-1)?.caseName === caseName ? '' : `\n## ${title}\n`
    console.log(`${heading}\n${groupReport(group, summary)}`)
    results.push({ caseName, title, group, summary })
  }
  if (options.json !== undefined) saveJson(options.json, start, results)
  if (options.markdown !== undefined) saveMarkdown(options.markdown, start, results)
  if (options.svg !== undefined) saveCharts(options.svg, start, results)
  conclude(results)
}

/** @param {import('./harness/options.mjs').Options} options */
function introduction({ version, quick, rounds, node, socketservertcl }) {
  const load = loadavg().map((value) => value.toFixed(2))
  const lines = [
    `Node ${version} (${node}), ${rounds} rounds, load average ${load.join(' ')}.`,
    'Values are medians of the rounds. Ratios are taken within each round, and shown as median (least-greatest).',
  ]
  if (Number.parseInt(version, 10) !== TARGET_NODE) {
    lines.push(`The targets are stated for Node ${TARGET_NODE}. Use --node PATH to measure with that version.`)
  }
  if (quick) lines.push('The rounds are short: do not quote these numbers.')
  if (socketservertcl === undefined) lines.push('socketservertcl is left out, because SOCKETSERVERTCL is not set.')
  return lines.join('\n')
}

/** @param {readonly import('./harness/results.mjs').GroupResult[]} results */
function conclude(results) {
  const targets = results.flatMap(({ summary }) => summary.targets)
  const missed = targets.filter(({ reached }) => !reached)
  console.log(`\n${targets.length - missed.length} of ${targets.length} targets reached.`)
  if (missed.length > 0) console.log(`\n${targetTable(missed)}`)
  const failures = results.flatMap(({ caseName, summary }) =>
    summary.rows.flatMap(({ label, failure }) =>
      failure === undefined ? [] : [`  ${caseName}, ${label}: ${failure}`],
    ),
  )
  if (failures.length > 0) throw new Failed(`These measurements failed:\n${failures.join('\n')}`)
}
