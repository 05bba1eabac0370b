// The documents agree with the implementation.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'

const ROOT = join(__dirname, '..', '..', '..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** Returns the first code block in this language after the comment that mentions the test. */
function block(document: string, language: string): string {
  const [, found] =
    new RegExp(`<!-- A test compares[^\\n]*\\n\`\`\`${language}\\n(.*?)\`\`\``, 's').exec(document) ?? []
  if (found === undefined) throw new Error(`The document has no block in ${language}`)
  return found
}

/** Parses a session in two columns, bytes and comments. Returns the sender and the bytes of each frame. */
function session(text: string): { sender: string; bytes: Buffer }[] {
  return text
    .split(/^(?=[WP] )/m)
    .filter((part) => part !== '')
    .map((part) => {
      const hex = part.replace(/^[WP]/, ' ').match(/^ +(?:[0-9a-f]{2} )*[0-9a-f]{2}(?= {2}|$)/gm) ?? []
      return { sender: part.slice(0, 1), bytes: Buffer.from(hex.join('').replaceAll(' ', ''), 'hex') }
    })
}

test('the session in docs/protocol.md consists of whole frames and differs from the specification only in the version', (t) => {
  const short = session(block(read('docs/protocol.md'), 'text'))
  const whole = session(block(read('crates/core/PROTOCOL.md'), 'text')).map(
    ({ sender, bytes }) => sender + bytes.toString('hex'),
  )
  t.is(short.length, 8)
  for (const { sender, bytes } of short) {
    t.is(bytes.length, 8 + bytes.readUInt32LE(0))
    // The newest version of HELLO, and the version of WELCOME.
    if (bytes[4] === 0x01) bytes[14] = 6
    if (bytes[4] === 0x81) bytes[12] = 6
    t.true(whole.includes(sender + bytes.toString('hex')), bytes.toString('hex'))
  }
})

test('the tour in ARCHITECTURE.md has at most 25 files, each exists, and none comes twice', (t) => {
  const [, tour = ''] = /^## A tour\b.*?\n(.*?)^## /ms.exec(read('ARCHITECTURE.md')) ?? []
  const stops = [...tour.matchAll(/^\d+\. \[(.+?)\]\((.+?)\)/gm)].map(([, name = '', path = '']) => ({ name, path }))
  const paths = stops.map(({ path }) => path)
  t.true(paths.length > 10 && paths.length <= 25, `${paths.length} files`)
  t.is(paths.length, [...tour.matchAll(/\]\(/g)].length, 'a file is outside the list')
  t.deepEqual([...new Set(paths)], paths)
  t.deepEqual(
    stops.filter(({ name, path }) => !path.endsWith(name) || !existsSync(join(ROOT, path))),
    [],
  )
})

test('every relative link in the documents leads to a file', (t) => {
  const folders = ['.', 'docs', 'docs/decisions', 'benchmarks', 'examples', 'crates/core', 'crates/load']
  const documents = folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(folder, name)),
  )
  const broken = documents.flatMap((document) =>
    [...read(document).matchAll(/\]\((?!\w+:)([^)#\s]+)/g)]
      .filter(([, path = '']) => !existsSync(join(ROOT, dirname(document), path)))
      .map(([, path = '']) => `${document}: ${path}`),
  )
  t.deepEqual(broken, [])
})
