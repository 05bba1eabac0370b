// Parses the command line of `npm run bench`.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Failed } from '../../scripts/steps.mjs'

/**
 * @typedef {object} Options
 * @property {string[]} cases names; empty means all
 * @property {boolean} quick whether rounds are short
 * @property {number} rounds
 * @property {string} node path of the Node that runs the peers
 * @property {string} version of that Node, without the v
 * @property {string | undefined} json output file
 * @property {string | undefined} markdown output file
 * @property {string | undefined} svg output folder
 * @property {boolean} prebuilt whether to skip the build
 * @property {string | undefined} socketservertcl folders of socketservertcl and Tclx, separated by a colon
 */

export const HELP = `npm run bench -- [case ...] [options]

Measures what a connection costs with this package and with Node's own ways of sharing a port, side by side.

  --quick         few and short rounds: all cases in under two minutes, as a smoke test
  --rounds N      number of rounds [5; with --quick 2]
  --node PATH     the Node that runs the servers [the Node that runs this command]
  --json FILE     writes all results as JSON
  --markdown FILE writes the tables as Markdown
  --svg FOLDER    writes the charts
  --prebuilt      skips the build
  --help

SOCKETSERVERTCL=FOLDER[:FOLDER] adds flightaware/socketservertcl: the folder of its pkgIndex.tcl, and the folder of Tclx's
if tclsh does not find Tclx.
`

/** The major version of Node that the targets are stated for. */
export const TARGET_NODE = 24

/**
 * Parses the arguments. Returns undefined for --help.
 *
 * @param {readonly string[]} args
 * @param {readonly string[]} known names of cases
 * @returns {Options | undefined}
 */
export function parseOptions(args, known) {
  const { values, positionals } = parse(args)
  if (values.help) return undefined
  for (const name of positionals) {
    if (!known.includes(name)) throw new Failed(`Unknown case '${name}'. The cases are ${known.join(', ')}.`)
  }
  const quick = values.quick ?? false
  const node = values.node ?? process.execPath
  return {
    cases: positionals,
    quick,
    rounds: rounds(values.rounds ?? (quick ? '2' : '5')),
    node,
    version: versionOf(node),
    json: values.json === undefined ? undefined : resolve(values.json),
    markdown: values.markdown === undefined ? undefined : resolve(values.markdown),
    svg: values.svg === undefined ? undefined : resolve(values.svg),
    prebuilt: values.prebuilt ?? false,
    socketservertcl: folders(process.env['SOCKETSERVERTCL']),
  }
}

/** @param {readonly string[]} args */
function parse(args) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        quick: { type: 'boolean' },
        rounds: { type: 'string' },
        node: { type: 'string' },
        json: { type: 'string' },
        markdown: { type: 'string' },
        svg: { type: 'string' },
        prebuilt: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    throw new Failed(`${error instanceof Error ? error.message : error}\n\n${HELP}`)
  }
}

/** @param {string} given */
function rounds(given) {
  const count = Number(given)
  // One round has no spread.
  if (!Number.isInteger(count) || count < 2) {
    throw new Failed(`--rounds must be a whole number of at least 2, not '${given}'.`)
  }
  return count
}

/** @param {string} node */
function versionOf(node) {
  try {
    return execFileSync(node, ['--print', 'process.versions.node'], { encoding: 'utf8' }).trim()
  } catch (error) {
    throw new Failed(`--node '${node}' does not run: ${error instanceof Error ? error.message : error}`)
  }
}

/** @param {string | undefined} given */
function folders(given) {
  if (given === undefined || given === '') return undefined
  for (const folder of given.split(':')) {
    if (!existsSync(folder)) throw new Failed(`SOCKETSERVERTCL names the folder '${folder}', which does not exist.`)
  }
  return given
}
