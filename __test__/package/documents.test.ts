// What the documents show is what there is.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'

const ROOT = join(__dirname, '..', '..', '..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** The first block in this language behind the comment that names the test. */
function block(document: string, language: string): string {
  const [, found] =
    new RegExp(`<!-- A test compares[^\\n]*\\n\`\`\`${language}\\n(.*?)\`\`\``, 's').exec(document) ?? []
  if (found === undefined) throw new Error(`There is no block in ${language}`)
  return found
}

/** The frames of a session that is written as two columns, bytes and comments: who says each, and its bytes. */
function session(text: string): { who: string; bytes: Buffer }[] {
  return text
    .split(/^(?=[WP] )/m)
    .filter((part) => part !== '')
    .map((part) => {
      const hex = part.replace(/^[WP]/, ' ').match(/^ +(?:[0-9a-f]{2} )*[0-9a-f]{2}(?= {2}|$)/gm) ?? []
      return { who: part.slice(0, 1), bytes: Buffer.from(hex.join('').replaceAll(' ', ''), 'hex') }
    })
}

test('the session of docs/protocol.md is made of whole frames, and differs from that of the specification only in its version', (t) => {
  const short = session(block(read('docs/protocol.md'), 'text'))
  const whole = session(block(read('crates/core/PROTOCOL.md'), 'text')).map(
    ({ who, bytes }) => who + bytes.toString('hex'),
  )
  t.is(short.length, 8)
  for (const { who, bytes } of short) {
    t.is(bytes.length, 8 + bytes.readUInt32LE(0))
    // Where there is a version: the newest of HELLO, and that of WELCOME.
    if (bytes[4] === 0x01) bytes[14] = 2
    if (bytes[4] === 0x81) bytes[12] = 2
    t.true(whole.includes(who + bytes.toString('hex')), bytes.toString('hex'))
  }
})
