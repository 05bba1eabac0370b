// Runs failed tests a second time, when no other test runs. The tests start hundreds of processes, and run beside each other:
// on a loaded machine, one test can delay another. A test that passes now is printed as unstable, and is not a failure.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { countCargo, countTap, titleOf } from './counts.mjs'
import { capture } from './steps.mjs'

/** @typedef {import('./counts.mjs').Counts} Counts */

/** More failures are the fault of a change, not of a loaded machine. */
const MOST_REPEATED = 10

/** What ava reports of a test file whose process has exited before its end. */
const EXITED = /^(\S+\.test\.[cm]?js) exited with /

const EXTENSIONS = ['js', 'mjs', 'cjs']

/**
 * Repeats the failed tests of a run of ava, each alone.
 *
 * @param {readonly string[]} command node and the arguments of the run, without patterns
 * @param {Counts} counts of the run
 * @param {string} folder the folder of ava's configuration
 */
export async function repeatTap(command, counts, folder) {
  return await repeat(counts, async (title) => {
    const test = fileAndTitle(title, folder)
    if (!test) return false
    const [node = '', ...args] = command
    const match = test.title === undefined ? [] : [`--match=${test.title}`]
    const repeated = await capture(node, [...args, '--tap', test.file, ...match], { cwd: folder, echo: true })
    const { passed, failed } = countTap(repeated)
    return passed > 0 && failed === 0
  })
}

/**
 * Repeats the failed tests of `cargo test`, each alone.
 *
 * @param {Counts} counts of the run
 */
export async function repeatCargo(counts) {
  // A test program that has crashed prints no report.
  if (counts.failed !== counts.failures?.length) return counts
  return await repeat(counts, async (name) => {
    const { passed, failed } = countCargo(
      await capture('cargo', ['test', '--workspace', '--no-fail-fast', '--', '--exact', name], { echo: true }),
    )
    return passed > 0 && failed === 0
  })
}

/**
 * Returns the counts of a run after its failed tests have been repeated.
 *
 * @param {Counts} counts
 * @param {(title: string) => Promise<boolean>} passes
 * @returns {Promise<Counts>}
 */
export async function repeat(counts, passes) {
  const { failed, failures = [] } = counts
  const titles = failures.map(titleOf)
  // Without reports, such as after a failed build, there is no test that could be repeated.
  if (failures.length === 0 || failed > MOST_REPEATED) return counts
  const still = []
  const unstable = []
  for (const [index, title] of titles.entries()) {
    const failure = failures[index] ?? title
    console.log(`==> Repeating the failed test: ${title}`)
    // An error outside a test ends its file, whose report follows.
    const isOfNext = !title.includes(' › ') && EXITED.test(titles[index + 1] ?? '')
    if (isOfNext || (await passes(title))) unstable.push(failure)
    else still.push(failure)
  }
  return { passed: counts.passed + unstable.length, failed: still.length, failures: still, unstable }
}

/**
 * Splits a title of ava's TAP output, `folder › file › title`, into the test file and the title. Returns the file alone if the
 * file has exited before its end.
 *
 * @param {string} name
 * @param {string} folder
 * @returns {{ file: string, title?: string } | undefined}
 */
export function fileAndTitle(name, folder) {
  const exited = EXITED.exec(name)?.[1]
  if (exited !== undefined && existsSync(join(folder, exited))) return { file: exited }
  const parts = name.split(' › ')
  for (let count = 1; count < parts.length; count += 1) {
    for (const extension of EXTENSIONS) {
      const file = `${parts.slice(0, count).join('/')}.test.${extension}`
      if (existsSync(join(folder, file))) return { file, title: parts.slice(count).join(' › ') }
    }
  }
  return undefined
}
