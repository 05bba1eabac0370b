/** The environment variable in which the parent tells a worker the number of its channel's descriptor. */
export const CHANNEL_VARIABLE = 'SOCKETSERVER_CHANNEL'
