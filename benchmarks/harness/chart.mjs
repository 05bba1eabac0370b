// Results as a picture: a bar for each line, as long as the median, with a whisker from the least round to the most.

const WIDTH = 720
const LABELS = 190
const NUMBERS = 120
const BAR = 22
const STEP = 34
const TOP = 48
const FOOT = 34

/**
 * An SVG that reads well on light and on dark, without anything from elsewhere.
 *
 * @param {{ title: string, note: string, digits: number, lines: { label: string, ours: boolean, value: import('./summary.mjs').Spread }[] }} picture
 */
export function chart({ title, note, digits, lines }) {
  const most = Math.max(...lines.map(({ value }) => value.most))
  const scale = (WIDTH - LABELS - NUMBERS) / most
  const height = TOP + lines.length * STEP + FOOT
  const bars = lines.map(({ label, ours, value }, index) => {
    const y = TOP + index * STEP
    const middle = y + BAR / 2
    const x = (/** @type {number} */ number) => round(LABELS + number * scale)
    return [
      `<text class="label" x="${LABELS - 10}" y="${middle}">${escaped(label)}</text>`,
      `<rect class="${ours ? 'ours' : 'other'}" x="${LABELS}" y="${y}" width="${round(value.median * scale)}" height="${BAR}" rx="3"/>`,
      `<path class="whisker" d="M${x(value.least)} ${middle}H${x(value.most)}M${x(value.least)} ${middle - 5}v10M${x(value.most)} ${middle - 5}v10"/>`,
      `<text class="number" x="${round(x(value.most) + 10)}" y="${middle}">${value.median.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })}</text>`,
    ].join('\n')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(title)}">
<style>
text { font: 14px system-ui, sans-serif; fill: #1f2328; dominant-baseline: central; }
.title { font-weight: 600; font-size: 15px; }
.label { text-anchor: end; }
.number { font-variant-numeric: tabular-nums; }
.note { font-size: 12px; fill: #59636e; }
.ours { fill: #0969da; }
.other { fill: #9198a1; }
.whisker { stroke: #1f2328; fill: none; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.note { fill: #9198a1; }
.ours { fill: #4493f8; }
.other { fill: #656c76; }
.whisker { stroke: #f0f6fc; }
}
</style>
<text class="title" x="10" y="22">${escaped(title)}</text>
${bars.join('\n')}
<text class="note" x="10" y="${height - 16}">${escaped(note)}</text>
</svg>
`
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 10) / 10
}

/** @param {string} text */
function escaped(text) {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;')
}
