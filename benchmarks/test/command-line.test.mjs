import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import test from 'ava'
import { root } from '../../scripts/steps.mjs'

const program = join(root, 'benchmarks', 'run.mjs')

/**
 * @param {string[]} args
 * @param {Record<string, string>} [env]
 */
function bench(args, env = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
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

test('a run that is interrupted leaves no files', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interrupted-'))
  const args = [program, '--prebuilt', '--quick', 'latency']
  const child = spawn(process.execPath, args, { env: { ...process.env, TMPDIR: folder }, stdio: 'ignore' })
  const exit = once(child, 'exit')
  for (let left = 500; readdirSync(folder).length === 0 && left > 0; left--) await wait(20)
  t.is(readdirSync(folder).length, 1)
  child.kill('SIGTERM')
  t.deepEqual(await exit, [143, null])
  // Throws if there is anything in it.
  rmdirSync(folder)
})
