// Tests that need more than Node: Linux's proc(5) to inspect processes, a second user, or the load generator.

import test from 'ava'
import { hasLoad } from './load.js'

const isLinux = process.platform === 'linux'
if (!isLinux) console.warn('This system has no proc(5): tests that inspect processes are skipped.')

const isRoot = isLinux && process.getuid?.() === 0
if (isLinux && !isRoot) console.warn('Not root: tests that need a second user are skipped.')

export const rootTest = isRoot ? test : test.skip
export const rootSerial = isRoot ? test.serial : test.serial.skip
export const linuxTest = isLinux ? test : test.skip
export const linuxSerial = isLinux ? test.serial : test.serial.skip
export const loadTest = isLinux && hasLoad ? test : test.skip
export const loadSerial = isLinux && hasLoad ? test.serial : test.serial.skip
