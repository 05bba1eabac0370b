// The page of the admin listener in a real browser.

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type Browser, chromium, type Page } from 'playwright-core'
import { call } from '../helpers/caller.js'
import { forkFixture, listen, portOf, serve, startServer } from '../helpers/served.js'
import { stop } from '../helpers/stop.js'
import { until } from '../helpers/until.js'

/** The paths of an installed browser, because Playwright's own browser would need a download. */
const BROWSERS = [
  process.env['CHROMIUM'] ?? '',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
]
const executablePath = BROWSERS.find((path) => path !== '' && existsSync(path))
if (executablePath === undefined) console.warn('Chromium is not installed: the tests of the page are skipped.')
const browserTest = executablePath === undefined ? test.skip : test

const AXE = require.resolve('axe-core/axe.min.js')

/** The folder for pictures of the page. Without this variable, the tests take no pictures. */
const PICTURES = process.env['PICTURES']

let browser: Browser | undefined
test.before(async () => {
  if (executablePath === undefined) return
  // Root cannot use Chromium's sandbox.
  browser = await chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] })
})
test.after.always(async () => {
  await browser?.close()
})

interface Opened {
  page: Page
  /** Errors of the page and of its console, including violations of its content security policy. */
  errors: string[]
  /** The hosts of all requests of the page. */
  hosts: Set<string>
}

async function open(
  t: ExecutionContext,
  port: number,
  options: { width?: number; isDark?: boolean } = {},
): Promise<Opened> {
  if (browser === undefined) throw new Error('There is no browser')
  const { width = 1100, isDark = false } = options
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: isDark ? 'dark' : 'light',
  })
  t.teardown(() => context.close())
  const page = await context.newPage()
  const [errors, hosts] = [[] as string[], new Set<string>()]
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
  page.on('pageerror', (error) => errors.push(error.message))
  page.on('request', (request) => hosts.add(new URL(request.url()).host))
  await page.goto(`http://127.0.0.1:${port}/`)
  await page
    .getByText('serving', { exact: true })
    .or(page.getByText('accepting pauses', { exact: true }))
    .waitFor()
  return { page, errors, hosts }
}

async function picture(page: Page, name: string): Promise<void> {
  if (PICTURES === undefined) return
  mkdirSync(PICTURES, { recursive: true })
  await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true })
}

browserTest('the page shows the workers, updates, and sends no request to another host', async (t) => {
  const { server, port } = await serve(t, 'echo', { workers: 4 })
  const admin = portOf(await server.admin({ port: 0 }))
  const { page, errors, hosts } = await open(t, admin)
  t.is(await page.locator('#workers tr').count(), 4)
  t.is(await page.locator('.scoreboard').textContent(), '____')
  const caller = call(t, port).send('words')
  await caller.receives('words')
  await page.locator('.scoreboard', { hasText: 'W' }).waitFor()
  t.is(await page.locator('#card-leases').textContent(), '1')
  const before = await page.locator('#cards polyline').first().getAttribute('points')
  await until(async () => (await page.locator('#cards polyline').first().getAttribute('points')) !== before)
  await picture(page, 'light')
  t.deepEqual(errors, [])
  t.deepEqual([...hosts], [`127.0.0.1:${admin}`])
})

browserTest('the page shows a killed worker with the reason', async (t) => {
  const { server, pool } = await serve(t, 'echo', { workers: 2 })
  const { page, errors } = await open(t, portOf(await server.admin({ port: 0 })))
  process.kill(pool.workers[1]?.pid ?? 0, 'SIGKILL')
  await page.getByText(/slot 1 of echo\.js \(pid \d+\) was killed by SIGKILL/).waitFor()
  t.deepEqual(errors, [])
})

browserTest('the page shows a full queue and that accepting is paused', async (t) => {
  const server = startServer(t, { maxQueue: 2 })
  const port = await listen(server)
  const { page, errors } = await open(t, portOf(await server.admin({ port: 0 })))
  for (const words of ['a', 'b', 'c']) call(t, port).send(words)
  await page.getByText('accepting pauses', { exact: true }).waitFor()
  await page.getByText(/accepting pauses: the queue is full/).waitFor()
  t.is(await page.locator('#card-queue').textContent(), '2 of 2')
  t.deepEqual(errors, [])
})

browserTest('the page shows a worker with a blocked event loop as stalled', async (t) => {
  const { server, pool, port } = await serve(t, 'echo', { workers: 4 })
  const { page } = await open(t, portOf(await server.admin({ port: 0 })), { isDark: true })
  await stop(t, pool.workers[2]?.pid ?? 0)
  const timer = setInterval(() => call(t, port).send('words'), 20)
  t.teardown(() => clearInterval(timer))
  await page.locator('.scoreboard', { hasText: '!' }).waitFor()
  await picture(page, 'dark-stuck')
  t.pass()
})

browserTest('the table sorts by keyboard', async (t) => {
  const { server } = await serve(t, 'echo', { workers: 3 })
  const { page } = await open(t, portOf(await server.admin({ port: 0 })))
  const slots = async () => await page.locator('#workers tr td:first-child').allTextContents()
  t.deepEqual(await slots(), ['0', '1', '2'])
  await page.locator('#sort-slot').focus()
  await page.keyboard.press('Enter')
  await until(async () => (await slots()).join() === '2,1,0')
  t.is(await page.locator('th', { has: page.locator('#sort-slot') }).getAttribute('aria-sort'), 'descending')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Space')
  t.is(await page.locator('th', { has: page.locator('#sort-pool') }).getAttribute('aria-sort'), 'ascending')
})

for (const isDark of [false, true]) {
  browserTest(
    `axe finds no violation, ${isDark ? 'dark' : 'light'}, and no content is cut off at 400 px`,
    async (t) => {
      const { server, port, pool } = await serve(t, 'echo', { workers: 4, restart: { minDelay: 1 } })
      const { page, errors } = await open(t, portOf(await server.admin({ port: 0 })), { width: 400, isDark })
      await call(t, port).send('words').receives('words')
      process.kill(pool.workers[0]?.pid ?? 0, 'SIGKILL')
      await page.getByText(/was killed by SIGKILL/).waitFor()
      await page.evaluate(readFileSync(AXE, 'utf8'))
      const violations: unknown = await page.evaluate(
        'axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html)]))',
      )
      t.deepEqual(violations, [])
      const width = await page.evaluate('document.documentElement.scrollWidth')
      t.true(Number(width) <= 400, `${width} px`)
      await picture(page, isDark ? 'narrow-dark' : 'narrow')
      t.deepEqual(errors, [])
    },
  )
}

browserTest('the page shows that the parent has stopped', async (t) => {
  const server = startServer(t)
  await listen(server)
  forkFixture(server, 'echo')
  const { page } = await open(t, portOf(await server.admin({ port: 0 })))
  await server.close()
  await page.getByText('no answer', { exact: true }).waitFor()
  t.pass()
})
