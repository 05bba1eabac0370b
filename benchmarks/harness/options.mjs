// The command line of `npm run bench`.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Failed } from '../../scripts/steps.mjs'

/**
 * @typedef {object} Options
 * @property {string[]} cases names; empty is all
 * @property {boolean} quick short rounds: to see that it works, not to quote
 * @property {number} rounds how often everything is measured, in turn
 * @property {string} node the executable that runs the peers
 * @property {string} version its version, without the v
 * @property {string | undefined} json where the results go as JSON
 * @property {string | undefined} markdown where the tables go as Markdown
 * @property {string | undefined} svg folder for the pictures
 * @property {boolean} prebuilt whether nothing is built first
 * @property {string | undefined} socketservertcl where its library and Tclx are, folders with a colon between them
 */

export const HELP = `npm run bench -- [case ...] [options]

Measures what a connection costs here and in Node's own ways, in turn within one run.

  --quick         short rounds and few of them: under two minutes for everything, to see that it works
  --rounds N      how often each is measured [5; with --quick 2]
  --node PATH     the Node that runs the servers [the one that runs this]; the aims are stated for Node 24
  --json FILE     writes the results as JSON
  --markdown FILE writes the tables as Markdown
  --svg FOLDER    draws the pictures
  --prebuilt      builds nothing first
  --help

SOCKETSERVERTCL=FOLDER[:FOLDER] adds flightaware/socketservertcl: where its pkgIndex.tcl is, and Tclx's if tclsh does not
find that by itself.
`

/** The major version for which the aims are stated. */
export const STATED_FOR = 24

/**
 * @param {readonly string[]} args
 * @param {readonly string[]} known names of cases
 * @returns {Options | undefined} undefined if help is wanted
 */
export function parseOptions(args, known) {
  const { values, positionals } = parse(args)
  if (values.help) return undefined
  for (const name of positionals) {
    if (!known.includes(name)) throw new Failed(`There is no case '${name}'. There are: ${known.join(', ')}.`)
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
  // A single round has no spread, so nothing could be said of it.
  if (!Number.isInteger(count) || count < 2)
    throw new Failed(`--rounds must be a whole number from 2 on, not '${given}'.`)
  return count
}

/** @param {string} node */
function versionOf(node) {
  try {
    return execFileSync(node, ['--print', 'process.versions.node'], { encoding: 'utf8' }).trim()
  } catch (error) {
    throw new Failed(`--node ${node} does not run: ${error instanceof Error ? error.message : error}`)
  }
}

/** @param {string | undefined} given */
function folders(given) {
  if (given === undefined || given === '') return undefined
  for (const folder of given.split(':')) {
    if (!existsSync(folder)) throw new Failed(`SOCKETSERVERTCL names '${folder}', which is not there.`)
  }
  return given
}
