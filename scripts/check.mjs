// Runs every check that CI runs besides the tests: format, lint, types, generated files, doc comments, package. A failed
// check does not stop the others.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { setup } from './setup.mjs'
import { capture, Failed, main, root, run, step } from './steps.mjs'
import { words } from './words.mjs'

const bin = (/** @type {string} */ name) => join(root, 'node_modules', '.bin', name)

/** A longer file gets a note, not a failure: it often has two subjects. */
const USUAL_LINES = [
  { folder: 'crates/core/src', lines: 300 },
  { folder: 'crates/napi/src', lines: 300 },
  { folder: 'lib', lines: 250 },
  { folder: '__test__', lines: 250 },
]

const FUZZ_MANIFEST = 'crates/core/fuzz/Cargo.toml'

await main(async () => {
  await setup()
  /** @type {string[]} */
  const failures = []

  /**
   * @param {string} title
   * @param {() => Promise<void>} action
   */
  const check = async (title, action) => {
    try {
      await step(title, action)
    } catch (error) {
      if (!(error instanceof Failed)) throw error
      console.error(`${error.message}\n`)
      failures.push(title)
    }
  }

  await check('Format and lint of TypeScript and JavaScript', () =>
    run(bin('biome'), ['ci', '--error-on-warnings', '.']),
  )
  await check('Format of Rust', async () => {
    await run('cargo', ['fmt', '--all', '--check'])
    if (existsSync(join(root, FUZZ_MANIFEST))) {
      await run('cargo', ['fmt', '--manifest-path', FUZZ_MANIFEST, '--check'])
    }
  })
  await check('Lint of Rust', () => run('cargo', ['clippy', '--workspace', '--all-targets', '--', '-D', 'warnings']))
  await check('Build', build)
  await check('Generated files are up to date', generatedFiles)
  await check('Every public item has a doc comment', () =>
    run(process.execPath, [join('scripts', 'docs.mjs'), '--check']),
  )
  for (const folder of ['__test__', 'examples', 'scripts', 'benchmarks']) {
    if (!existsSync(join(root, folder, 'tsconfig.json'))) continue
    await check(`Types of ${folder}/`, () => run(bin('tsc'), ['--noEmit', '-p', folder]))
  }
  await check('The package as npm would publish it', () => run(bin('publint'), ['run', '--strict', '--pack', 'npm']))
  await check('package-lock.json names no registry', lockFiles)
  await check('No retired words', words)
  notes()

  if (failures.length > 0) throw new Failed(`Failed:\n${failures.map((title) => `  - ${title}`).join('\n')}`)
  console.log('All checks passed.')
})

/** Fails if the generated files in git differ from those that the build has just written. */
async function generatedFiles() {
  await run(bin('napi'), ['create-npm-dirs'])
  for (const folder of ['lib/binding', 'npm']) {
    const { code } = await capture('git', ['diff', '--exit-code', '--stat', '--', folder], { echo: true })
    const { output } = await capture('git', ['ls-files', '--others', '--exclude-standard', '--', folder])
    if (code === 0 && output === '') continue
    throw new Failed(`The generated files in ${folder} changed. Commit them.\n${output}`)
  }
}

async function lockFiles() {
  for (const folder of ['', '__test__/apps']) {
    if (!/"resolved": "http/.test(readFileSync(join(root, folder, 'package-lock.json'), 'utf8'))) continue
    throw new Failed(
      `${join(folder, 'package-lock.json')} has \`resolved\` URLs. Run \`npm install --package-lock-only\` in its folder.`,
    )
  }
}

/** Prints a note for every file that is longer than usual. */
function notes() {
  for (const { folder, lines } of USUAL_LINES) {
    if (!existsSync(join(root, folder))) continue
    for (const name of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
      if (!/\.(rs|[mc]?ts)$/.test(name) || name.startsWith('binding')) continue
      const count = readFileSync(join(root, folder, name), 'utf8').split('\n').length - 1
      if (count > lines) console.log(`note: ${folder}/${name} has ${count} lines; consider splitting it.`)
    }
  }
}
