// The command of `npm run soak`: runs the given ways, by default all, and prints the losses of each.

import { parseArgs } from 'node:util'
import { type Soaked, soak, type Way } from './run.js'

const WAYS: readonly Way[] = ['processes', 'threads', 'cluster']

const HEAD = [
  'workers',
  'requests',
  'reloads',
  'resizes',
  'killed',
  'connections these held',
  'requests lost with them',
  'lost otherwise',
]

function row(soaked: Soaked): string {
  const { way, requests, reloads, resizes, kills, held, lost } = soaked
  const rows = [way, requests, reloads, resizes, kills, held, lost, elsewhereOf(soaked)]
  return `| ${rows.join(' | ')} |`
}

function elsewhereOf({ elsewhere, elsewhereAtKills }: Soaked): string {
  const total = Object.values(elsewhere).reduce((sum, count) => sum + count, 0)
  const each = Object.entries(elsewhere).map(([outcome, count]) => `${count} ${outcome}`)
  if (total === 0) return '0'
  return `${total} (${each.join(', ')}; ${elsewhereAtKills} as a worker was killed)`
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { scale: { type: 'string', default: '1' }, 'no-kills': { type: 'boolean', default: false } },
    allowPositionals: true,
  })
  const rows = [`| ${HEAD.join(' | ')} |`, `| ${HEAD.map(() => '---').join(' | ')} |`]
  for (const way of WAYS.filter((name) => positionals.length === 0 || positionals.includes(name))) {
    const teardowns: (() => unknown)[] = []
    const plan = { way, scale: Number(values.scale), withKills: !values['no-kills'] }
    const soaked = await soak({ teardown: (end) => void teardowns.unshift(end) }, plan)
    for (const end of teardowns) await end()
    console.log(`${way}: ${JSON.stringify(soaked)}`)
    rows.push(row(soaked))
    const isClean = Object.keys(soaked.elsewhere).length === 0 && soaked.miscounted.length === 0 && soaked.unknown === 0
    if (way !== 'cluster' && !isClean) process.exitCode = 1
  }
  console.log(`\n${rows.join('\n')}`)
}

void main()
