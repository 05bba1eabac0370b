import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** The absolute path of a compiled fixture, by its name without the ending. */
export function fixture(name: string): string {
  for (const ending of ['.js', '.mjs', '.cjs']) {
    const path = join(__dirname, '..', 'fixtures', `${name}${ending}`)
    if (existsSync(path)) return path
  }
  throw new Error(`There is no fixture ${name}`)
}
