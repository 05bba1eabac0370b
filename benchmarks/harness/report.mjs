// Formats results as Markdown tables, for the terminal and for RESULTS.md.

import { markdownTable } from 'markdown-table'
import { formatNumber, formatSpread } from './format.mjs'

/**
 * Returns the tables of one group.
 *
 * @param {import('./types.js').Group} group
 * @param {import('./summary.mjs').Summary} summary
 */
export function groupReport(group, { rows, targets }) {
  const baseline = group.subjects.find(({ name }) => name === group.baseline)?.label ?? group.baseline
  const head = [
    '',
    ...group.columns.map(({ title, unit }) => (unit === '' ? title : `${title}, ${unit}`)),
    ...group.ratios.map(({ title }) => `${title} / ${baseline}`),
  ]
  const body = rows.map(({ label, failure, metrics, ratios }) =>
    failure !== undefined
      ? [label, 'FAILED']
      : [
          label,
          ...group.columns.map(({ metric, digits }) => formatNumber(metrics[metric]?.median, digits)),
          ...group.ratios.map(({ metric }) => formatSpread(ratios[metric], 2)),
        ],
  )
  const failures = rows.flatMap(({ label, failure }) => (failure === undefined ? [] : `${label} FAILED: ${failure}`))
  const table = markdownTable([head, ...body], { align: ['l', ...head.slice(1).map(() => 'r')] })
  return [`${group.title}:`, table, ...failures, ...(targets.length > 0 ? [targetTable(targets)] : [])].join('\n\n')
}

/** @param {readonly import('./summary.mjs').TargetResult[]} targets */
export function targetTable(targets) {
  const body = targets.map(({ description, limit, measured, reached }) => [
    description,
    limit,
    formatSpread(measured, 3),
    measured === undefined ? '**not measured**' : reached ? 'reached' : '**not reached**',
  ])
  return markdownTable([['target', 'limit', 'measured', ''], ...body], { align: ['l', 'l', 'r', 'l'] })
}
