import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { library } from '../helpers/library.js'
import { temporaryDirectory } from '../helpers/temporary-directory.js'

const { resolveEntry } = library('server/pool/resolve-entry')

test('an entry is resolved like the argument of node, and the path is returned without following links', (t) => {
  const directory = temporaryDirectory(t)
  mkdirSync(join(directory, 'folder'))
  for (const name of ['worker.js', 'folder/index.js', 'other.mjs']) writeFileSync(join(directory, name), '')
  symlinkSync(join(directory, 'worker.js'), join(directory, 'link.js'))
  for (const entry of ['worker.js', './worker', 'folder', 'folder/index.js', 'other.mjs', 'link.js']) {
    t.is(resolveEntry(entry, directory), join(directory, entry), entry)
    t.is(resolveEntry(entry, pathToFileURL(directory)), join(directory, entry), entry)
    t.is(resolveEntry(join(directory, entry), '/nowhere'), join(directory, entry), entry)
  }
  t.is(resolveEntry(pathToFileURL(join(directory, 'worker.js'))), join(directory, 'worker.js'))
  for (const entry of ['other', 'nothing.js', 'fs', 'typescript']) {
    t.throws(() => resolveEntry(entry, directory), { code: 'ERR_SOCKETSERVER_ENTRY_NOT_FOUND' }, entry)
  }
})
