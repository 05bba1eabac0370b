import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'
import { root } from '../../scripts/steps.mjs'

/**
 * @param {string[]} args
 * @param {Record<string, string>} [env]
 */
function bench(args, env = {}) {
  const path = join(root, 'benchmarks', 'run.mjs')
  const { status, stdout, stderr } = spawnSync(process.execPath, [path, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  })
  return { status, stdout, stderr }
}

test('help names the options and the cases', (t) => {
  const { status, stdout } = bench(['--help'])
  t.is(status, 0)
  for (const word of ['--quick', '--rounds', '--node', '--json', '--svg', 'tails', 'fairness']) {
    t.true(stdout.includes(word), word)
  }
})

for (const { what, args, env, says } of [
  { what: 'a case that there is not', args: ['speed'], says: "There is no case 'speed'. There are: cost, latency" },
  { what: 'a single round', args: ['--rounds', '1'], says: "--rounds must be a whole number from 2 on, not '1'" },
  { what: 'a Node that does not run', args: ['--node', '/nowhere/node'], says: '--node /nowhere/node does not run' },
  { what: 'an option that there is not', args: ['--fast'], says: "Unknown option '--fast'" },
  {
    what: 'a library that is not there',
    args: [],
    env: { SOCKETSERVERTCL: '/nowhere' },
    says: "SOCKETSERVERTCL names '/nowhere'",
  },
]) {
  test(`${what} is refused before anything is built`, (t) => {
    const { status, stderr } = bench(args, env)
    t.is(status, 1)
    t.true(stderr.includes(says), stderr)
  })
}
