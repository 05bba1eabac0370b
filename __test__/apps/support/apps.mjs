// The apps of this package. No app knows @socketserver/node.

import { join } from 'node:path'
import { graphql, http, http2, httpPost, httpsWithName, socketIo, trpc, ws } from './clients.mjs'
import { FOLDER } from './command.mjs'

const NEXT = join(FOLDER, 'fixtures', 'next')
const TSX = ['--node-arg', '--import=tsx']
const NO_TSX_IN_THREADS = 'tsx does not compile the entry of a thread on Node 20'

/**
 * @typedef {object} App
 * @property {string} name
 * @property {readonly string[]} args the arguments of `socketserver run`
 * @property {(port: number) => () => import('./load.mjs').Client} client
 * @property {string} [noThreads] why it cannot run in threads
 */

/** @type {readonly App[]} */
export const APPS = [
  { name: 'Express', args: ['fixtures/express.js'], client: http() },
  { name: 'Express with request bodies', args: ['fixtures/express.js'], client: httpPost },
  { name: 'Fastify', args: ['fixtures/fastify.js'], client: http() },
  { name: 'Koa', args: ['fixtures/koa.js'], client: http() },
  { name: 'Hono', args: ['fixtures/hono.mjs'], client: http() },
  { name: 'NestJS, by tsx', args: [...TSX, 'fixtures/nest.ts'], client: http(), noThreads: NO_TSX_IN_THREADS },
  { name: 'GraphQL Yoga', args: ['fixtures/graphql-yoga.js'], client: graphql },
  { name: 'tRPC standalone', args: ['fixtures/trpc.mjs'], client: trpc },
  { name: 'ws', args: ['fixtures/ws.js'], client: ws },
  { name: 'socket.io', args: ['fixtures/socket-io.js'], client: socketIo },
  { name: 'https with SNI', args: ['fixtures/https-sni.js'], client: httpsWithName },
  { name: 'http2', args: ['fixtures/http2.js'], client: http2 },
  { name: 'TypeScript by tsx', args: [...TSX, 'fixtures/tsx.ts'], client: http(), noThreads: NO_TSX_IN_THREADS },
  { name: 'get-port', args: ['fixtures/get-port.mjs'], client: http() },
  { name: 'detect-port', args: ['fixtures/detect-port.js'], client: http() },
  {
    name: 'next start',
    args: ['--cwd', NEXT, '../../node_modules/.bin/next', 'start'],
    client: http('/', /worker (?:<!-- -->)?([\d.]+)/),
  },
  {
    name: 'the standalone server of Next',
    args: [join(NEXT, '.next', 'standalone', 'fixtures', 'next', 'server.js')],
    client: http('/api'),
    noThreads: 'it calls process.chdir(), which threads do not support',
  },
]
