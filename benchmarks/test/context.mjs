// What the tests of the benchmark share.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../scripts/steps.mjs'
import { underLoad } from '../harness/figures.mjs'
import { measureGroup } from '../harness/measure.mjs'

/** @type {import('../harness/options.mjs').Options} */
export const options = {
  cases: [],
  quick: true,
  rounds: 2,
  node: process.execPath,
  version: process.versions.node,
  json: undefined,
  markdown: undefined,
  svg: undefined,
  prebuilt: true,
  socketservertcl: undefined,
}

/**
 * A group of these lines.
 *
 * @param {import('../harness/types.js').Subject[]} subjects
 * @returns {import('../harness/types.js').Group}
 */
export function groupOf(subjects) {
  return {
    name: 'group',
    title: 'A group',
    subjects,
    columns: [{ figure: 'rate', title: 'conn/s', unit: '', digits: 0 }],
    base: subjects[0]?.name ?? '',
    ratios: [{ figure: 'rate', title: 'conn/s' }],
    targets: subjects.map(({ name }) => ({
      says: `${name} is not too slow`,
      subject: name,
      figure: 'rate',
      atLeast: 1,
    })),
  }
}

/**
 * Measures lines and says nothing meanwhile.
 *
 * @param {import('../harness/types.js').Subject[]} subjects
 */
export async function measured(subjects) {
  return await measureGroup(groupOf(subjects), options, () => {})
}

/**
 * A line for a peer under a load of so many connections.
 *
 * @param {import('../harness/peer.mjs').Peer} peer
 * @param {number} [connections]
 * @returns {import('../harness/types.js').Subject}
 */
export function loaded(peer, connections = 300) {
  return {
    name: peer.name,
    label: peer.label,
    measure: (context) => underLoad(context, peer, { mode: 'closed', options: { connections, clients: 4 } }),
  }
}

/** Whether there is a load generator, which is built if need be. Without Rust there is none. */
export const hasLoad = existsSync(join(root, 'target', 'release', 'socketserver-load')) || built()

function built() {
  try {
    execFileSync('cargo', ['build', '--release', '--package', 'socketserver-load'], { cwd: root, stdio: 'inherit' })
    return true
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    return false
  }
}
