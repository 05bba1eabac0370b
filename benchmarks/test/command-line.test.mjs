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

test('--help lists the options and the cases', (t) => {
  const { status, stdout } = bench(['--help'])
  t.is(status, 0)
  for (const word of ['--quick', '--rounds', '--node', '--json', '--svg', 'tails', 'fairness']) {
    t.true(stdout.includes(word), word)
  }
})

for (const { input, args, env, message } of [
  { input: 'an unknown case', args: ['speed'], message: "Unknown case 'speed'. The cases are cost, latency" },
  {
    input: 'a single round',
    args: ['--rounds', '1'],
    message: "--rounds must be a whole number of at least 2, not '1'",
  },
  {
    input: 'a Node that does not run',
    args: ['--node', '/nowhere/node'],
    message: "--node '/nowhere/node' does not run",
  },
  { input: 'an unknown option', args: ['--fast'], message: "Unknown option '--fast'" },
  {
    input: 'a missing library',
    args: [],
    env: { SOCKETSERVERTCL: '/nowhere' },
    message: "SOCKETSERVERTCL names the folder '/nowhere', which does not exist",
  },
]) {
  test(`${input} is an error before the build`, (t) => {
    const { status, stderr } = bench(args, env)
    t.is(status, 1)
    t.true(stderr.includes(message), stderr)
  })
}

test('an interrupted run leaves no files', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interrupted-'))
  const args = [program, '--prebuilt', '--quick', 'latency']
  const child = spawn(process.execPath, args, { env: { ...process.env, TMPDIR: folder }, stdio: 'ignore' })
  const exit = once(child, 'exit')
  for (let left = 500; readdirSync(folder).length === 0 && left > 0; left--) await wait(20)
  t.is(readdirSync(folder).length, 1)
  child.kill('SIGTERM')
  t.deepEqual(await exit, [143, null])
  // Throws if the folder is not empty.
  rmdirSync(folder)
})
