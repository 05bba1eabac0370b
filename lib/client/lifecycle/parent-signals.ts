// What SIGINT and SIGTERM do to a worker whose server was created with `signals: true`.

import { constants } from 'node:os'
import type { Channel } from '../channel/channel.js'

/**
 * Ctrl-C reaches every process of a terminal, and systemd's SIGTERM every process of a unit. While the parent lives it is
 * the one to say when this worker ends; and when it has said so, or has died, a signal ends this worker as usual.
 */
export function leaveSignalsToParent(channel: Channel): void {
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      if (channel.isOver) process.exit(128 + constants.signals[signal])
    })
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const
