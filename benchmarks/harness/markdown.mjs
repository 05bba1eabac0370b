// Results as Markdown, to be kept beside the code.

import { mkdirSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { dirname } from 'node:path'
import { number, within } from './table.mjs'

/**
 * @param {string} path
 * @param {ReturnType<typeof import('./results.mjs').circumstances>} begun
 * @param {readonly import('./results.mjs').GroupResult[]} results
 */
export function saveMarkdown(path, begun, results) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, markdown(begun, results))
}

/**
 * @param {ReturnType<typeof import('./results.mjs').circumstances>} begun
 * @param {readonly import('./results.mjs').GroupResult[]} results
 */
export function markdown({ node, rounds, quick, cores, load }, results) {
  const loads = (/** @type {number[]} */ values) => values.map((value) => value.toFixed(1)).join(', ')
  const sections = results.map(({ title, group, summary }, index) => {
    const heading = results[index - 1]?.title === title ? '' : `## ${title}\n\n`
    return `${heading}${group.title}:\n\n${lines(group, summary)}\n${aims(summary)}`
  })
  return `# Results of one run

Written by \`npm run bench -- --markdown\`; [README.md](README.md) says what each case does. Node ${node}, ${rounds} ${
    quick ? 'short rounds' : 'rounds'
  } in turn, ${cores} cores, shared with the load generator. Load average (1, 5, 15 minutes) before: ${loads(load)}; after: ${loads(loadavg())}.
Figures are medians of the rounds. Ratios are taken within each round, and shown as median (least-most).

${sections.join('\n')}`
}

/**
 * @param {import('./types.js').Group} group
 * @param {import('./results.mjs').GroupResult['summary']} summary
 */
function lines(group, { lines }) {
  const base = group.subjects.find(({ name }) => name === group.base)?.label ?? group.base
  const head = [
    ...group.columns.map(({ title, unit }) => (unit === '' ? title : `${title}, ${unit}`)),
    ...group.ratios.map(({ title }) => `${title} / ${base}`),
  ]
  const rows = lines.map(({ label, failure, figures, ratios }) => {
    // Of several lines only the first fits a table; the rest has been shown as it happened.
    if (failure !== undefined) return row([label, `failed: ${failure.split('\n', 1)[0]}`])
    const cells = group.columns.map(({ figure, digits }) => number(figures[figure]?.median, digits))
    return row([label, ...cells, ...group.ratios.map(({ figure }) => within(ratios[figure], 2))])
  })
  return `${row(['', ...head])}${row(['---', ...head.map(() => '---:')])}${rows.join('')}`
}

/** @param {import('./results.mjs').GroupResult['summary']} summary */
function aims({ aims }) {
  if (aims.length === 0) return ''
  const rows = aims.map(({ says, limit, found, reached }) =>
    row([
      says,
      limit,
      found === undefined ? 'not measured' : within(found, 3),
      reached ? 'reached' : '**not reached**',
    ]),
  )
  return `${row(['aim', '', 'measured', ''])}${row(['---', '---', '---:', '---'])}${rows.join('')}`
}

/** @param {readonly string[]} cells */
function row(cells) {
  return `| ${cells.join(' | ')} |\n`
}
