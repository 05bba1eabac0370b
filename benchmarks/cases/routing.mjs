// Measures what routing adds to the cost of a short connection.

import { columns, measureUnderLoad } from '../harness/metrics.mjs'
import { peers } from '../harness/peers.mjs'

const WORKERS = 2
const CLIENTS = 32

/** @typedef {{ label: string, routing?: import('@socketserver/node').RoutingOptions, preamble?: Buffer, atMost?: number }} Subject */

/** The connection is routed by its address, or by a header that the parent takes. */
const BY_ADDRESS = /** @type {const} */ ({
  name: 'address',
  title: 'a line from each client',
  behaviour: 'short',
  subjects: {
    plain: { label: 'without routing' },
    sticky: { label: "sticky: 'address'", routing: { sticky: 'address' }, atMost: 1.03 },
    limited: { label: 'maxPerSource', routing: { maxPerSource: 1_000_000 } },
    proxied: {
      label: 'PROXY header, version 2',
      routing: { proxyProtocol: { from: '127.0.0.0/8' } },
      preamble: proxyHeader(),
      atMost: 1.25,
    },
  },
})

/** The connection is routed by bytes that the parent peeks. */
const BY_REQUEST = /** @type {const} */ ({
  name: 'cookie',
  title: 'an HTTP request from each client',
  behaviour: 'head',
  subjects: {
    plain: { label: 'without routing', preamble: requestHead() },
    cookie: {
      label: "sticky: { cookie: 'sid' }",
      routing: { sticky: { cookie: 'sid' } },
      preamble: requestHead(),
      atMost: 1.25,
    },
  },
})

/** @type {import('../harness/types.js').Case} */
export const routing = {
  name: 'routing',
  title: 'Cost of routing',
  groups: (options) => [BY_ADDRESS, BY_REQUEST].map((one) => group(options, one)),
}

/**
 * @param {import('../harness/options.mjs').Options} options
 * @param {{ name: string, title: string, behaviour: 'short' | 'head', subjects: Readonly<Record<string, Subject>> }} one
 * @returns {import('../harness/types.js').Group}
 */
function group(options, { name, title, behaviour, subjects }) {
  const all = Object.entries(subjects)
  return {
    name,
    title: `${CLIENTS} clients at a time, ${title}`,
    subjects: all.map(([subject, { label, routing, preamble }]) => ({
      name: subject,
      label,
      measure: (context) =>
        measureUnderLoad(context, peers.processes({ behaviour, workers: WORKERS, ...(routing && { routing }) }), {
          mode: 'closed',
          options: {
            clients: CLIENTS,
            seconds: options.quick ? 0.5 : 3,
            ...(preamble && { preamble: preamble.toString('hex') }),
          },
          warmUp: { seconds: options.quick ? 0.3 : 1 },
        }),
    })),
    columns: [columns.rate, columns.cpu, columns.parent, columns.p50, columns.p99],
    baseline: 'plain',
    ratios: [{ metric: 'cpu', title: 'CPU' }],
    targets: all.flatMap(([subject, { label, atMost }]) =>
      atMost === undefined
        ? []
        : [{ description: `CPU, ${label} / without routing`, subject, metric: 'cpu', baseline: 'plain', atMost }],
    ),
  }
}

/** Returns a header for a TCP connection over IPv4, with a host name. */
function proxyHeader() {
  const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
  const addresses = [192, 0, 2, 1, 198, 51, 100, 7, 0xc8, 0x22, 0x01, 0xbb]
  const authority = Buffer.from('example.com')
  const tlv = [2, 0, authority.length, ...authority]
  return Buffer.from([...signature, 0x21, 0x11, 0, addresses.length + tlv.length, ...addresses, ...tlv])
}

/** Returns the head of a request as a browser sends it, with a cookie. */
function requestHead() {
  const lines = [
    'GET / HTTP/1.1',
    'Host: localhost',
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
    'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
    'Cookie: theme=dark; sid=0123456789abcdef',
  ]
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`)
}
