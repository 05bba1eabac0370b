// Runs the command for Node's own tests on tests of the same style.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'

const ROOT = join(__dirname, '..', '..', '..')

function nodeSuite(...args: string[]): { status: number | null; output: string } {
  const script = join(ROOT, 'scripts', 'test-node-suite.mjs')
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

test('tests that pass without serve() pass through serve()', (t) => {
  const { status, output } = nodeSuite(join(ROOT, '__test__', 'node-suite'))
  t.regex(output, /^5 tests listen: 5 pass both ways, 0 fail also without serve\(\)\n0 fail only through serve\(\)\n$/m)
  t.is(status, 0)
})

test('a test that fails only through serve() is reported and fails the command', (t) => {
  const { status, output } = nodeSuite(join(ROOT, '__test__', 'node-suite', 'failing'))
  t.regex(output, /^test-net-own-descriptor\.js: exit code 1\n1 tests listen: .*\n1 fail only through serve\(\)$/m)
  t.is(status, 1)
})

test('a folder without tests is an error', (t) => {
  const { status, output } = nodeSuite(join(ROOT, 'lib'))
  t.regex(output, /There are none of Node's tests in /)
  t.is(status, 1)
})

test('with --cluster, the workers that a test forks are workers of server.run()', (t) => {
  const { status, output } = nodeSuite(join(ROOT, '__test__', 'node-suite', 'cluster'), '--cluster')
  t.regex(
    output,
    /^1 tests start workers: 1 pass both ways, 0 fail also without server\.run\(\)\n0 fail only through server\.run\(\)\n$/m,
  )
  t.is(status, 0)
})
