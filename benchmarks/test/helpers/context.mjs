// Options, groups and subjects for the tests.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../../scripts/steps.mjs'
import { measureGroup } from '../../harness/measure.mjs'
import { measureUnderLoad } from '../../harness/metrics.mjs'

/** @type {import('../../harness/options.mjs').Options} */
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
 * Returns a group of these subjects, with one metric.
 *
 * @param {import('../../harness/types.js').Subject[]} subjects
 * @returns {import('../../harness/types.js').Group}
 */
export function groupOf(subjects) {
  return {
    name: 'group',
    title: 'A group',
    subjects,
    columns: [{ metric: 'rate', title: 'conn/s', unit: '', digits: 0 }],
    baseline: subjects[0]?.name ?? '',
    ratios: [{ metric: 'rate', title: 'conn/s' }],
    targets: subjects.map(({ name }) => ({
      description: `${name} is fast enough`,
      subject: name,
      metric: 'rate',
      atLeast: 1,
    })),
  }
}

/**
 * Measures these subjects without showing progress.
 *
 * @param {import('../../harness/types.js').Subject[]} subjects
 */
export async function measure(subjects) {
  return await measureGroup(groupOf(subjects), options, () => {})
}

/**
 * Returns a subject that measures a peer under load.
 *
 * @param {import('../../harness/peers.mjs').Peer} peer
 * @param {number} [connections]
 * @returns {import('../../harness/types.js').Subject}
 */
export function underLoad(peer, connections = 300) {
  return {
    name: peer.name,
    label: peer.label,
    measure: (context) => measureUnderLoad(context, peer, { mode: 'closed', options: { connections, clients: 4 } }),
  }
}

/** Whether the load generator exists. Builds it if Rust is installed. */
export const hasLoad = existsSync(join(root, 'target', 'release', 'socketserver-load')) || buildLoad()

function buildLoad() {
  try {
    execFileSync('cargo', ['build', '--release', '--package', 'socketserver-load'], { cwd: root, stdio: 'inherit' })
    return true
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    return false
  }
}
