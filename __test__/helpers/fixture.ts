import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const TESTS = join(__dirname, '..')

/** The folders with fixtures: one for all themes, and one beside the tests of each theme. */
const FOLDERS = [
  join(TESTS, 'fixtures'),
  ...readdirSync(TESTS, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(TESTS, name, 'fixtures')),
]

/** Returns the absolute path of a compiled fixture, by its name without the extension. */
export function fixture(name: string): string {
  for (const folder of FOLDERS) {
    for (const extension of ['.js', '.mjs', '.cjs']) {
      const path = join(folder, `${name}${extension}`)
      if (existsSync(path)) return path
    }
  }
  throw new Error(`The fixture ${name} does not exist`)
}
