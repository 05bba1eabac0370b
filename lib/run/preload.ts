// Node requires this file before the entry of each worker that `server.run()` starts. The threads and the processes that the app
// starts inherit the flag, but find no variable: they load no more than this file.

import { CHANNEL_VARIABLE } from '../channel-variable.js'

hideFlag(process.execArgv)
if (process.env[CHANNEL_VARIABLE] !== undefined) require('./start.js').start()

/** Removes the flag that led here, so that the app sees its own flags, and passes no others on. */
function hideFlag(flags: string[]): void {
  const index = flags.findIndex((flag, at) => flag === '--require' && flags[at + 1] === __filename)
  if (index >= 0) flags.splice(index, 2)
}
