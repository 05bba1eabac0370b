// Draws a bar chart as SVG: each bar is a median, with a whisker from the least to the greatest value.

import { formatNumber } from './format.mjs'

const WIDTH = 720
const LABEL_WIDTH = 190
const NUMBER_WIDTH = 120
const BAR_HEIGHT = 22
const BAR_DISTANCE = 34
const HEADER_HEIGHT = 48
const FOOTER_HEIGHT = 34

const STYLE = `
text { font: 14px system-ui, sans-serif; fill: #1f2328; dominant-baseline: central; }
.title { font-weight: 600; font-size: 15px; }
.label { text-anchor: end; }
.number { font-variant-numeric: tabular-nums; }
.note { font-size: 12px; fill: #59636e; }
.bar { fill: #9198a1; }
.highlighted { fill: #0969da; }
.whisker { stroke: #1f2328; fill: none; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.note { fill: #9198a1; }
.bar { fill: #656c76; }
.highlighted { fill: #4493f8; }
.whisker { stroke: #f0f6fc; }
}
`

/**
 * Returns an SVG document that is legible on a light and on a dark background.
 *
 * @param {{ title: string, note: string, digits: number, bars: { label: string, highlighted: boolean, value: import('./summary.mjs').Spread }[] }} content
 */
export function chart({ title, note, digits, bars }) {
  const greatest = Math.max(...bars.map(({ value }) => value.most))
  const x = (/** @type {number} */ value) =>
    (LABEL_WIDTH + (value / greatest) * (WIDTH - LABEL_WIDTH - NUMBER_WIDTH)).toFixed(1)
  const height = HEADER_HEIGHT + bars.length * BAR_DISTANCE + FOOTER_HEIGHT
  const drawn = bars.map(({ label, highlighted, value }, index) => {
    const y = HEADER_HEIGHT + index * BAR_DISTANCE + BAR_HEIGHT / 2
    const [least, most] = [x(value.least), x(value.most)]
    return `<text class="label" x="${LABEL_WIDTH - 10}" y="${y}">${escapeXml(label)}</text>
<path class="bar${highlighted ? ' highlighted' : ''}" d="M${x(0)} ${y - BAR_HEIGHT / 2}H${x(value.median)}v${BAR_HEIGHT}H${x(0)}z"/>
<path class="whisker" d="M${least} ${y}H${most}M${least} ${y - 5}v10M${most} ${y - 5}v10"/>
<text class="number" x="${most}" dx="10" y="${y}">${formatNumber(value.median, digits)}</text>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escapeXml(title)}">
<style>${STYLE}</style>
<text class="title" x="10" y="22">${escapeXml(title)}</text>
${drawn.join('\n')}
<text class="note" x="10" y="${height - 16}">${escapeXml(note)}</text>
</svg>`
}

/** @param {string} text */
function escapeXml(text) {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;')
}
