import { fileURLToPath } from 'node:url'

/**
 * Returns a peer that runs a program of `../peers`.
 *
 * @param {string} name
 * @param {number} [workers]
 * @returns {import('../../harness/peers.mjs').Peer}
 */
export function fixture(name, workers = 1) {
  const path = fileURLToPath(new URL(`../peers/${name}.mjs`, import.meta.url))
  return { name, label: name, workers, env: process.env, command: ({ node }) => ({ command: node, args: [path] }) }
}
