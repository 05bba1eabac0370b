// Fails for each retired word in a tracked file: in its text, its identifiers or its name. The glossary of ARCHITECTURE.md
// has one word for each thing; a second word for the same thing makes a reader search for a difference.

import { lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { capture, Failed, main, root } from './steps.mjs'

/** Each retired word, a regular expression, with the word to use instead. Only words that are wrong wherever they stand. */
const RETIRED = new Map([
  ['bells?', 'waker'],
  ['berths?', 'session'],
  ['books', 'receiver state'],
  ['condemn(s|ed|ing)?', 'time out'],
  ['doubt(s|ed|ful)?', 'suspect, probation'],
  ['for ever', 'until the event that ends it, without a limit'],
  ['(give|gives|gave|given|giving) back', 'hand back'],
  ['givers?', 'hand-back origin'],
  ['goes by', 'name the condition'],
  ['greet(s|ed|ings?)?', 'handshake'],
  ['guests?', 'pending peer'],
  ['house', 'project, server thread'],
  ['inlets?', 'reader'],
  ['intake', 'decode'],
  ['knows? nothing of', 'does not use, has no access to'],
  ['liars?', 'name what the program does'],
  ['lobby|lobbies', 'pending peers'],
  ['memberships?', 'reconnecting channel'],
  ['no good', 'hostile'],
  ['occupations?', 'pending ref'],
  ['outlets?', 'writer'],
  ['patience', 'timeout, backoff'],
  ['put back', 'requeue'],
  ['rosters?', 'channel map'],
  ['rush(es|ed|ing)?', 'high accept rate'],
  ['standing', 'counters, state'],
  ['take back', 'recall'],
  ['troubles?', 'error kind, failure'],
  ['what there is', 'name the thing'],
  ['when told', 'on request, when its parent asks'],
  ['whoever', 'name the process or the caller'],
  ['wish(es|ed)?', 'request'],
])

const GENERATED = [
  'package-lock.json',
  '__test__/apps/package-lock.json',
  'lib/binding/',
  'crates/core/fuzz/Cargo.lock',
  'Cargo.lock',
  'scripts/words.mjs',
]

const within = (/** @type {string} */ name, /** @type {string[]} */ paths) =>
  paths.some((path) => name.startsWith(path))
const patterns = [...RETIRED].map(([word, instead]) => ({ pattern: new RegExp(`\\b(${word})\\b`, 'i'), instead }))

/** Separates the words of an identifier: `putBack`, `put_back` and `put-back` are `put back`. */
const spaced = (/** @type {string} */ text) => text.replace(/([a-z\d])([A-Z])/g, '$1 $2').replace(/[_-]/g, ' ')

/** Checks all tracked files. Throws `Failed`, which names each retired word. */
export async function words() {
  const { output } = await capture('git', ['ls-files', '-z'])
  const failures = []
  for (const name of output.split('\0').filter((name) => name !== '' && !within(name, GENERATED))) {
    failures.push(...check(name, name))
    failures.push(...contents(name).flatMap((line, index) => check(line, `${name}:${index + 1}`)))
  }
  if (failures.length > 0) throw new Failed(`Retired words:\n${failures.join('\n')}`)
}

/** Returns the lines of a text file; of the change log, those above the first released version. */
function contents(/** @type {string} */ name) {
  const path = join(root, name)
  const text = lstatSync(path).isFile() ? readFileSync(path, 'utf8') : ''
  if (text.includes('\0')) return []
  const end = name === 'CHANGELOG.md' ? text.search(/^## \[\d/m) : -1
  return (end === -1 ? text : text.slice(0, end)).split('\n')
}

function check(/** @type {string} */ text, /** @type {string} */ where) {
  const line = spaced(text)
  return patterns.flatMap(({ pattern, instead }) => {
    const found = pattern.exec(line)
    return found === null ? [] : [`${where}: "${found[0]}" is retired: ${instead}`]
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(words)
