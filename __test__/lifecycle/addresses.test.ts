import test from 'ava'
import { library } from '../helpers/library.js'

const { errorAddress, fromNative } = library('address')

test('addresses have the same shape as in net', (t) => {
  const tcp = { family: 'IPv6', address: '::', port: 80 }
  t.deepEqual(fromNative(tcp), { address: '::', family: 'IPv6', port: 80 })
  t.deepEqual(fromNative({ family: 'Unix', address: '/a', port: 0 }), { path: '/a' })
  t.deepEqual(errorAddress(fromNative(tcp)), { address: '::', port: 80 })
  t.deepEqual(errorAddress({ path: '/a' }), { address: '/a', port: -1 })
})
