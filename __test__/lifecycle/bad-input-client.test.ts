// Invalid arguments of the worker's side. The worker passes each and reports the error.

import test from 'ava'
import { serve } from '../helpers/served.js'

const TYPE = 'ERR_INVALID_ARG_TYPE'
const RANGE = 'ERR_OUT_OF_RANGE'
const VALUE = 'ERR_INVALID_ARG_VALUE'

const EXPECTED: Readonly<Record<string, readonly [code: string, message: string]>> = {
  'connect port 65536': [
    RANGE,
    'The value of "options.port" is out of range. It must be >= 0 && <= 65535. Received 65536',
  ],
  'connect port -1': [RANGE, 'The value of "options.port" is out of range. It must be >= 0 && <= 65535. Received -1'],
  'connect port 1.5': [RANGE, 'The value of "options.port" is out of range. It must be an integer. Received 1.5'],
  'connect port true': [TYPE, 'The "options.port" property must be of type number. Received type boolean (true)'],
  'connect port http': ['ERR_INVALID_ARG_VALUE', `The "options.port" property must be a port number. Received 'http'`],
  "connect '8080'": [
    VALUE,
    `The "options" argument is a port: use connect({ port: 8080 }), or './8080' for a path. Received '8080'`,
  ],
  'connect undefined': [
    TYPE,
    'The "options" argument must be a path or an options object; connect() without an argument connects to the parent. ' +
      'Received undefined',
  ],
  'connect null': [TYPE, 'The "options" argument must be of type object. Received null'],
  'connect 80': [TYPE, 'The "options" argument must be of type object. Received type number (80)'],
  'connect concurrency': [
    VALUE,
    `The "options.concurrency" property is an option of serve(), or the property 'concurrency' of the client. Received 5`,
  ],
  'connect prot': [VALUE, 'The "options.prot" property is unknown; did you mean \'port\'. Received 5'],
  'connect reconnect typo': [
    VALUE,
    'The "options.reconnect.mindelay" property is unknown; did you mean \'minDelay\'. Received 5',
  ],
  'accept timeout': [VALUE, 'The "options.timeout" property is unknown; known are signal. Received 5'],
  'serve concurency': [VALUE, 'The "options.concurency" property is unknown; did you mean \'concurrency\'. Received 5'],
  'accept 5': [TYPE, 'The "options" argument must be of type object. Received type number (5)'],
  'accept signal': [
    TYPE,
    `The "options.signal" property must be an instance of AbortSignal. Received type string ('SIGTERM')`,
  ],
  'concurrency 0': [RANGE, 'The value of "concurrency" is out of range. It must be >= 1 && <= 4294967295. Received 0'],
  'concurrency 1.5': [RANGE, 'The value of "concurrency" is out of range. It must be an integer. Received 1.5'],
  'concurrency -Infinity': [
    RANGE,
    'The value of "concurrency" is out of range. It must be an integer. Received -Infinity',
  ],
  'concurrency 2 ** 32': [
    RANGE,
    'The value of "concurrency" is out of range. It must be >= 1 && <= 4294967295. Received 4294967296',
  ],
  'concurrency NaN': [RANGE, 'The value of "concurrency" is out of range. It must be an integer. Received NaN'],
  'concurrency ten': [TYPE, `The "concurrency" argument must be of type number. Received type string ('ten')`],
  'serve nothing': [TYPE, 'The "server" argument must be an instance of net.Server. Received undefined'],
  'serve a function': [TYPE, 'The "server" argument must be an instance of net.Server. Received function app'],
  'serve options': [TYPE, `The "options" argument must be of type object. Received type string ('many')`],
  'serve concurrency': [
    RANGE,
    'The value of "options.concurrency" is out of range. It must be >= 1 && <= 4294967295. Received 0',
  ],
  'serve what listens': ['ERR_SERVER_ALREADY_LISTEN', 'Listen method has been called more than once without closing.'],
  'serve twice': [
    'ERR_SOCKETSERVER_ALREADY_SERVING',
    'This client already serves a server: connect({ port }) creates one client per port',
  ],
}

test('each invalid argument of a client is an error that names it, and the worker continues', async (t) => {
  const { reports } = await serve(t, 'pass-bad-input')
  t.like(await reports.next('done'), { concurrency: true })
  const tried = reports.all.filter(({ event }) => event !== 'done')
  for (const { event, code, message, isType, isRange } of tried) {
    const [expectedCode, expectedMessage] = EXPECTED[event] ?? []
    t.deepEqual([code, message], [expectedCode, expectedMessage], event)
    t.is(isRange, expectedCode === RANGE, event)
    t.is(isType, expectedCode === TYPE || expectedCode === 'ERR_INVALID_ARG_VALUE', event)
  }
  t.deepEqual(tried.map(({ event }) => event).sort(), Object.keys(EXPECTED).sort())
})
