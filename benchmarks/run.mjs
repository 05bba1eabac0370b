// What a connection costs here and in Node's own ways, measured side by side on the reader's own machine.
//
//     npm run bench                        all of it
//     npm run bench -- --quick             all of it, roughly, in under two minutes
//     npm run bench -- cost tails          these cases
//     npm run bench -- --help

import { constants, loadavg } from 'node:os'
import { build } from '../scripts/build.mjs'
import { setup } from '../scripts/setup.mjs'
import { Failed, main, run, step } from '../scripts/steps.mjs'
import { cases } from './cases/index.mjs'
import { saveMarkdown } from './harness/markdown.mjs'
import { measureGroup } from './harness/measure.mjs'
import { HELP, parseOptions, STATED_FOR } from './harness/options.mjs'
import { Progress } from './harness/progress.mjs'
import { circumstances, saveJson, savePictures } from './harness/results.mjs'
import { summarize } from './harness/summary.mjs'
import { table, told } from './harness/table.mjs'

/** @param {readonly string[]} args */
async function bench(args) {
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
  const chosen = cases.filter(({ name }) => options.cases.length === 0 || options.cases.includes(name))
  const planned = chosen.flatMap((one) =>
    one.groups(options).map((group) => ({ caseName: one.name, title: one.title, group })),
  )
  const begun = circumstances(options)
  console.log(introduction(options))
  const progress = new Progress(planned.reduce((sum, { group }) => sum + group.subjects.length, 0) * options.rounds)
  /** @type {import('./harness/results.mjs').GroupResult[]} */
  const results = []
  for (const { caseName, title, group } of planned) {
    const measured = await measureGroup(group, options, (subject, round, found) =>
      progress.tell(`${caseName}, ${group.title}`, group, subject, round, found),
    )
    const summary = summarize(group, measured)
    results.push({ caseName, title, group, summary })
    progress.clear()
    console.log(`${results.at(-2)?.caseName === caseName ? '' : `\n## ${title}\n\n`}${table(group, summary)}`)
  }
  if (options.json !== undefined) saveJson(options.json, begun, results)
  if (options.markdown !== undefined) saveMarkdown(options.markdown, begun, results)
  if (options.svg !== undefined) savePictures(options.svg, begun, results)
  conclude(results)
}

/** @param {import('./harness/options.mjs').Options} options */
function introduction({ version, quick, rounds, node, socketservertcl }) {
  const said = [
    `Node ${version} (${node}), ${rounds} rounds in turn, load average ${loadavg()
      .map((load) => load.toFixed(2))
      .join(' ')}.`,
    'Figures are medians of the rounds; ratios are taken within each round, and shown as median (least-most).',
  ]
  if (Number.parseInt(version, 10) !== STATED_FOR) {
    said.push(`The aims are stated for Node ${STATED_FOR}, and this is another: --node PATH measures that one.`)
  }
  if (quick) said.push('Rounds are short: a look, and nothing to quote.')
  if (socketservertcl === undefined) said.push('Without socketservertcl: SOCKETSERVERTCL is not set.')
  return said.join('\n')
}

/** @param {readonly import('./harness/results.mjs').GroupResult[]} results */
function conclude(results) {
  const aims = results.flatMap(({ summary }) => summary.aims)
  const missed = aims.filter(({ reached }) => !reached)
  console.log(`\n${aims.length - missed.length} of ${aims.length} aims reached.`)
  if (missed.length > 0) console.log(missed.map(told).join('').trimEnd())
  const failures = results.flatMap(({ caseName, summary }) =>
    summary.lines.flatMap(({ label, failure }) =>
      failure === undefined ? [] : [`  ${caseName}, ${label}: ${failure}`],
    ),
  )
  if (failures.length > 0) throw new Failed(`Failed, and so without a number:\n${failures.join('\n')}`)
}

// A process that a signal ends sweeps nothing up; servers end with the pipe from here.
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.once(signal, () => process.exit(128 + constants.signals[signal]))
}
await main(() => bench(process.argv.slice(2)))
