// Instructions of a handoff in user space, the parent's half and the worker's, as callgrind counts them: the same on a
// busy machine as on an idle one, so that a change can be held against what is recorded in instructions.json.
//
//     node benchmarks/instructions.mjs             counts, and compares with the record
//     node benchmarks/instructions.mjs --save      and makes it the record
//
// The program is crates/core/benches/handoff.rs, run with two counts: the difference is what a handoff takes, without
// what starting takes. What the kernel does is not in it.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { capture, Failed, main, root, step } from '../scripts/steps.mjs'
import { number } from './harness/table.mjs'

const RECORD = join(root, 'benchmarks', 'instructions.json')
const COUNTS = /** @type {const} */ ([2000, 4000])
const HALVES = /** @type {const} */ ({ parent: 'handoff::parent_turn', worker: 'handoff::worker_turn' })
const CASES = [
  { batch: 1, workers: 1 },
  { batch: 32, workers: 1 },
  { batch: 1, workers: 64 },
]

/** @typedef {Record<string, number>} Counted instructions by what is counted */

/** @param {readonly string[]} args */
async function instructions(args) {
  const unknown = args.find((arg) => arg !== '--save')
  if (unknown !== undefined) throw new Failed(`There is no option '${unknown}'; there is --save.`)
  const program = await step('Building crates/core/benches/handoff.rs', built)
  /** @type {Counted} */
  const counted = {}
  await step('Counting', async () => {
    for (const { batch, workers } of CASES) {
      for (const [half, name] of Object.entries(HALVES)) {
        const of = (/** @type {number} */ handoffs) => count(program, { count: handoffs, batch, workers }, name)
        const [few, many] = [await of(COUNTS[0]), await of(COUNTS[1])]
        counted[`${half}, ${batch} in a message, ${workers} ${workers === 1 ? 'worker' : 'workers'}`] = Math.round(
          (many - few) / (COUNTS[1] - COUNTS[0]),
        )
      }
    }
  })
  const before = recorded()
  console.log('Instructions in user space by handoff')
  for (const [what, now] of Object.entries(counted)) {
    const then = before.instructions[what]
    const change = then === undefined ? 'not recorded' : `recorded ${number(then, 0)}, ${percent(now / then - 1)}`
    console.log(`  ${what.padEnd(36)}${number(now, 0).padStart(7)}   ${change}`)
  }
  const { output } = await capture('rustc', ['--version'])
  const compiled = { rustc: output.trim(), arch: process.arch }
  if (before.rustc !== compiled.rustc || before.arch !== compiled.arch) {
    console.log(`The record is of ${before.rustc} on ${before.arch}, this is ${compiled.rustc} on ${compiled.arch}.`)
  }
  if (args.length > 0) writeFileSync(RECORD, `${JSON.stringify({ ...compiled, instructions: counted }, null, 2)}\n`)
}

/** The program's path, which Cargo tells in its messages. */
async function built() {
  const args = ['bench', '--package', 'socketserver-core', '--bench', 'handoff', '--no-run', '--message-format', 'json']
  const { output, code } = await capture('cargo', args)
  const path = output.split('\n').flatMap((line) => /"executable":"([^"]+handoff-[^"]+)"/.exec(line)?.[1] ?? [])
  if (code !== 0 || path[0] === undefined) throw new Failed('The benchmark of the core does not build.')
  return path[0]
}

/**
 * Instructions within one function and what it calls.
 *
 * @param {string} program
 * @param {Record<string, number>} settings
 * @param {string} name
 */
async function count(program, settings, name) {
  const { output, code } = await capture('valgrind', [
    '--tool=callgrind',
    '--callgrind-out-file=/dev/null',
    '--log-fd=1',
    '--collect-atstart=no',
    `--toggle-collect=${name}*`,
    program,
    ...Object.entries(settings).flatMap(([option, value]) => [`--${option}`, String(value)]),
  ])
  const collected = /Collected : (\d+)/.exec(output)?.[1]
  if (code !== 0 || collected === undefined) throw new Failed(`callgrind could not count ${name}:\n${output}`)
  return Number(collected)
}

/** @returns {{ rustc?: string, arch?: string, instructions: Counted }} */
function recorded() {
  try {
    return JSON.parse(readFileSync(RECORD, 'utf8'))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { instructions: {} }
    throw error
  }
}

/** @param {number} change */
function percent(change) {
  return `${change < 0 ? '' : '+'}${(change * 100).toFixed(1)} %`
}

await main(() => instructions(process.argv.slice(2)))
