/** The environment variable with the descriptor number of a worker's end of its channel. */
export const CHANNEL_VARIABLE = 'SOCKETSERVER_CHANNEL'
