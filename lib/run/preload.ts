// Node requires this file before the entry of each worker that `server.run()` starts. Child processes and threads of the app
// inherit the flag, and load no more than this file: the variables are deleted before the app runs.

import { CHANNEL_VARIABLE } from '../channel-variable.js'

if (process.env[CHANNEL_VARIABLE] !== undefined) require('./start.js').start()
