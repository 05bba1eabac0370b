/**
 * Returns a median with the least and the greatest value in parentheses.
 *
 * @param {import('./summary.mjs').Spread | undefined} spread
 * @param {number} digits
 */
export function formatSpread(spread, digits) {
  if (spread === undefined || Number.isNaN(spread.median)) return '-'
  return `${formatNumber(spread.median, digits)} (${formatNumber(spread.least, digits)}-${formatNumber(spread.most, digits)})`
}

/**
 * @param {number | undefined} value
 * @param {number} digits
 */
export function formatNumber(value, digits) {
  if (value === undefined || Number.isNaN(value)) return '-'
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
