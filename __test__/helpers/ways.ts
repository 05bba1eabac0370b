import { fixture } from './fixture.js'

/** The ways in which a worker makes sockets of descriptors and has servers serve them, as options for its Node. */
export const WAYS: readonly { way: string; execArgv: string[] }[] = [
  { way: 'by handles', execArgv: [] },
  { way: 'by descriptors', execArgv: ['--require', fixture('without-handles')] },
  { way: 'by handles, emitted', execArgv: ['--require', fixture('without-listening-handles')] },
]
