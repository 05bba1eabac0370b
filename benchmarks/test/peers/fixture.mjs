import { fileURLToPath } from 'node:url'

/**
 * A program of this folder, as a peer.
 *
 * @param {string} name
 * @param {number} [workers]
 * @returns {import('../../harness/peer.mjs').Peer}
 */
export function fixture(name, workers = 1) {
  const path = fileURLToPath(new URL(`./${name}.mjs`, import.meta.url))
  return { name, label: name, workers, env: process.env, command: ({ node }) => ({ command: node, args: [path] }) }
}
