// Results as text.

/**
 * @param {import('./types.js').Group} group
 * @param {ReturnType<typeof import('./summary.mjs').summarize>} summary
 */
export function table(group, { lines, aims }) {
  const base = group.subjects.find(({ name }) => name === group.base)?.label ?? group.base
  const head = [
    '',
    ...group.columns.map(({ title, unit }) => (unit === '' ? title : `${title} ${unit}`)),
    ...group.ratios.map(({ title }) => `${title} / ${base}`),
  ]
  const rows = lines.map(({ label, failure, figures, ratios }) => {
    if (failure !== undefined) return [label, `FAILED: ${failure}`]
    return [
      label,
      ...group.columns.map(({ figure, digits }) => number(figures[figure]?.median, digits)),
      ...group.ratios.map(({ figure }) => within(ratios[figure], 2)),
    ]
  })
  return `${group.title}\n\n${aligned([head, ...rows])}\n${aims.map(told).join('')}`
}

/**
 * How an aim was met, in one line.
 *
 * @param {import('./summary.mjs').Aim} aim
 */
export function told({ says, limit, found, reached }) {
  if (found === undefined) return `  NOT MEASURED  ${says}: ${limit}\n`
  return `  ${reached ? 'reached    ' : 'NOT REACHED'}  ${says}: ${within(found, 3)}, ${limit}\n`
}

/**
 * A median with the least and the most of all rounds.
 *
 * @param {import('./summary.mjs').Spread | undefined} spread
 * @param {number} digits
 */
export function within(spread, digits) {
  if (spread === undefined || Number.isNaN(spread.median)) return '-'
  return `${number(spread.median, digits)} (${number(spread.least, digits)}-${number(spread.most, digits)})`
}

/**
 * @param {number | undefined} value
 * @param {number} digits
 */
export function number(value, digits) {
  if (value === undefined || Number.isNaN(value)) return '-'
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** @param {string[][]} rows the first column is text, the others are numbers */
function aligned(rows) {
  const full = rows.filter((row) => row.length === rows[0]?.length)
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...full.map((row) => row[column]?.length ?? 0)))
  const first = Math.max(...rows.map((row) => row[0]?.length ?? 0))
  return rows
    .map((row) => {
      const cells = row.map((cell, column) => {
        if (column === 0) return cell.padEnd(first)
        return row.length === widths.length ? cell.padStart(widths[column] ?? 0) : cell
      })
      return `  ${cells.join('  ')}\n`
    })
    .join('')
}
