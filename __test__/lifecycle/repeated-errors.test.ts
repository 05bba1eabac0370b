import test from 'ava'
import { library } from '../helpers/library.js'

const { SocketServerError } = library('errors')
const { RepeatedErrors } = library('server/repeated-errors')

test('of repeated errors of one kind the first is reported at once, and the rest as one error with their count', async (t) => {
  const messages: string[] = []
  await new Promise<void>((resolve) => {
    const alive = setInterval(() => {}, 1000)
    const errors = new RepeatedErrors(({ message }) => {
      messages.push(message)
      if (messages.length < 3) return
      clearInterval(alive)
      resolve()
    }, 1)
    const make = (kind: string) => (count: number) =>
      new SocketServerError('ERR_SOCKETSERVER_PROTOCOL', `${kind} ${count}`)
    for (let at = 0; at < 1000; at += 1) errors.add('a', make('a'))
    errors.add('b', make('b'))
  })
  t.deepEqual(messages, ['a 1', 'b 1', 'a 999'])
})
