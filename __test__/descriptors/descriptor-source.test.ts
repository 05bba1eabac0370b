import { Server, Socket } from 'node:net'
import test from 'ava'
import { library } from '../helpers/library.js'

const { descriptorNumber } = library('descriptors/descriptor-source')

const TYPE = { code: 'ERR_INVALID_ARG_TYPE', instanceOf: TypeError }
const VALUE = { code: 'ERR_INVALID_ARG_VALUE', instanceOf: TypeError }
const RANGE = { code: 'ERR_OUT_OF_RANGE', instanceOf: RangeError }

test('a descriptor is given as a number or as an object that has it open', (t) => {
  t.is(descriptorNumber('a', 5), 5)
  t.is(descriptorNumber('a', { fd: 6 }), 6)
  const table = [
    [-1, RANGE],
    [1.5, RANGE],
    [2 ** 31, RANGE],
    ['5', TYPE],
    [undefined, TYPE],
    [null, TYPE],
    [{}, TYPE],
    [{ fd: '5' }, TYPE],
    [{ fd: -1 }, VALUE],
    [{ fd: 0.5 }, VALUE],
    [new Socket(), VALUE],
    [new Server(), VALUE],
    [{ fd: 5, encrypted: true }, VALUE],
  ] as const
  for (const [source, expected] of table) {
    t.throws(() => descriptorNumber('list[3]', source), { ...expected, message: /"list\[3\]"/ })
  }
})
