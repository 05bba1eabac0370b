// Counts the user-space instructions of a handoff with callgrind, in the parent and in the worker, and compares them with
// instructions.json. The counts do not depend on the load of the machine.
//
//     node benchmarks/instructions.mjs             counts and compares
//     node benchmarks/instructions.mjs --save      also writes instructions.json
//
// Runs crates/core/benches/handoff.rs with two numbers of handoffs. The difference excludes the start of the program.
// Instructions in the kernel are not counted.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { capture, Failed, main, root, step } from '../scripts/steps.mjs'
import { formatNumber } from './harness/format.mjs'

const RECORD = join(root, 'benchmarks', 'instructions.json')
const COUNTS = /** @type {const} */ ([2000, 4000])
const FUNCTIONS = /** @type {const} */ ({ parent: 'handoff::parent_turn', worker: 'handoff::worker_turn' })
const CASES = [
  { batch: 1, workers: 1 },
  { batch: 32, workers: 1 },
  { batch: 1, workers: 64 },
]

/** @typedef {Record<string, number>} Counts instructions by name */

/** @param {readonly string[]} args */
async function instructions(args) {
  const unknown = args.find((arg) => arg !== '--save')
  if (unknown !== undefined) throw new Failed(`Unknown option '${unknown}'. The only option is --save.`)
  const program = await step('Building crates/core/benches/handoff.rs', buildProgram)
  /** @type {Counts} */
  const counts = {}
  await step('Counting', async () => {
    for (const { batch, workers } of CASES) {
      for (const [side, name] of Object.entries(FUNCTIONS)) {
        const [few, many] = [
          await countInstructions(program, { count: COUNTS[0], batch, workers }, name),
          await countInstructions(program, { count: COUNTS[1], batch, workers }, name),
        ]
        counts[`${side}, ${batch} in a message, ${workers} ${workers === 1 ? 'worker' : 'workers'}`] = Math.round(
          (many - few) / (COUNTS[1] - COUNTS[0]),
        )
      }
    }
  })
  const record = readRecord()
  console.log('User-space instructions for each handoff')
  for (const [name, now] of Object.entries(counts)) {
    const recorded = record.instructions[name]
    const change =
      recorded === undefined ? 'not recorded' : `recorded ${formatNumber(recorded, 0)}, ${percent(now / recorded - 1)}`
    console.log(`  ${name.padEnd(36)}${formatNumber(now, 0).padStart(7)}   ${change}`)
  }
  const { output } = await capture('rustc', ['--version'])
  const compiler = { rustc: output.trim(), arch: process.arch }
  if (record.rustc !== compiler.rustc || record.arch !== compiler.arch) {
    console.log(
      `instructions.json is from ${record.rustc} on ${record.arch}; this is ${compiler.rustc} on ${compiler.arch}.`,
    )
  }
  if (args.length > 0) writeFileSync(RECORD, `${JSON.stringify({ ...compiler, instructions: counts }, null, 2)}\n`)
}

/** Builds the program and returns its path, from Cargo's JSON messages. */
async function buildProgram() {
  const args = ['bench', '--package', 'socketserver-core', '--bench', 'handoff', '--no-run', '--message-format', 'json']
  const { output, code } = await capture('cargo', args)
  const path = output.split('\n').flatMap((line) => /"executable":"([^"]+handoff-[^"]+)"/.exec(line)?.[1] ?? [])
  if (code !== 0 || path[0] === undefined) throw new Failed('crates/core/benches/handoff.rs does not build.')
  return path[0]
}

/**
 * Returns the number of instructions in a function and its callees.
 *
 * @param {string} program
 * @param {Record<string, number>} settings
 * @param {string} name
 */
async function countInstructions(program, settings, name) {
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
  if (code !== 0 || collected === undefined) throw new Failed(`callgrind did not count ${name}:\n${output}`)
  return Number(collected)
}

/** @returns {{ rustc?: string, arch?: string, instructions: Counts }} */
function readRecord() {
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
