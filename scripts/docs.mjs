// Writes the API reference to build/docs, from the doc comments. With `--check`, only verifies that every public item is
// exported and documented.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { Failed, main, root, run } from './steps.mjs'

const MODEL = join('build', 'docs-model')

/** Kinds of the model whose members are documented in the comment of the containing item. */
const COVERED_BY_PARENT = new Set(['EntryPoint', 'Package', 'Constructor'])

/**
 * @typedef {{ kind: string, name?: string, docComment?: string, canonicalReference: string, members?: Item[] }} Item
 *
 * @param {Item} item
 * @returns {string[]} the references of the items without a comment
 */
function undocumented(item) {
  const isDocumented = COVERED_BY_PARENT.has(item.kind) || (item.docComment ?? '').trim() !== ''
  return [...(isDocumented ? [] : [item.canonicalReference]), ...(item.members ?? []).flatMap(undocumented)]
}

await main(async () => {
  const bin = (/** @type {string} */ name) => join(root, 'node_modules', '.bin', name)
  await build()
  await run(bin('api-extractor'), ['run', '--local'])
  const missing = undocumented(JSON.parse(readFileSync(join(root, MODEL, 'node.api.json'), 'utf8')))
  if (missing.length > 0) throw new Failed(`These public items have no doc comment:\n${missing.join('\n')}`)
  if (process.argv.includes('--check')) return
  await run(bin('api-documenter'), ['markdown', '--input-folder', MODEL, '--output-folder', join('build', 'docs')])
})
