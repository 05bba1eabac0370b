// `npm test` repeats the tests that fail, and reports those that pass the second time.

import { execFileSync } from 'node:child_process'
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { temporaryDirectory } from '../helpers/temporary-directory.js'

const ROOT = join(__dirname, '..', '..', '..')

const REPEAT = `
  import { countTap, reportTotal } from ${JSON.stringify(join(ROOT, 'scripts', 'counts.mjs'))}
  import { repeatTap } from ${JSON.stringify(join(ROOT, 'scripts', 'repeats.mjs'))}
  import { capture } from ${JSON.stringify(join(ROOT, 'scripts', 'steps.mjs'))}
  import { AVA } from ${JSON.stringify(join(ROOT, 'scripts', 'test.mjs'))}
  const cwd = process.argv[1]
  const counts = countTap(await capture(process.execPath, [AVA, '--tap'], { cwd }))
  reportTotal([await repeatTap([process.execPath, AVA], counts, cwd)])
  process.exitCode = 0
`

test('a failed test is repeated alone, and reported as unstable if it passes then', (t) => {
  const folder = temporaryDirectory(t)
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module", "ava": { "files": ["*.test.mjs"] } }')
  writeFileSync(
    join(folder, 'some.test.mjs'),
    `import { appendFileSync, readFileSync } from 'node:fs'
     import test from 'ava'
     const runs = (name) => { appendFileSync(name, '.'); return readFileSync(name, 'utf8').length }
     test('passes', (t) => t.is(runs('passes'), 1))
     test('fails › once (a * b)', (t) => t.is(runs('once'), 2))
     test('fails always', (t) => t.is(runs('always'), 0))
    `,
  )
  writeFileSync(
    join(folder, 'other.test.mjs'),
    `import test from 'ava'
     test('passes', (t) => t.pass())
    `,
  )
  writeFileSync(
    join(folder, 'third.test.mjs'),
    `import { existsSync, writeFileSync } from 'node:fs'
     import test from 'ava'
     test('fails outside the test, once', async (t) => {
       if (!existsSync('third')) setImmediate(() => { writeFileSync('third', ''); throw new Error('outside') })
       await new Promise((resolve) => setTimeout(resolve, 300))
       t.pass()
     })
    `,
  )
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', REPEAT, folder], { encoding: 'utf8' })
  const lines = output.trimEnd().split('\n')
  t.is(lines.at(-1), '5 passed, 1 failed', output)
  t.true(lines.includes('unstable, passed when it was repeated: some › fails › once (a * b)'), output)
  t.true(lines.includes('failed: some › fails always'), output)
})
