import test from 'ava'
import { library } from '../helpers/library.js'

const { socketName } = library('descriptors/socket-name')

const TYPE = { code: 'ERR_INVALID_ARG_TYPE', instanceOf: TypeError }
const VALUE = { code: 'ERR_INVALID_ARG_VALUE', instanceOf: TypeError }

test('a socket name is a path, or on Linux an abstract name', (t) => {
  t.deepEqual(socketName('a', '/run/ä'), { bytes: Buffer.from('/run/ä'), shown: '/run/ä' })
  t.throws(() => socketName('a', ''), { ...VALUE, message: /"a"/ })
  t.throws(() => socketName('a', 'a\0'), VALUE)
  t.throws(() => socketName('a', Buffer.from('a')), TYPE)
  if (process.platform === 'linux') {
    t.deepEqual(socketName('a', '\0b\0\n'), { bytes: Buffer.from('\0b\0\n'), shown: '@b\\x00\\n' })
    t.throws(() => socketName('a', '\0'), { ...VALUE, message: /must not be empty/ })
  } else {
    t.throws(() => socketName('a', '\0b'), { ...VALUE, message: /only Linux/ })
  }
})
