import test from 'ava'
import { APPS } from './support/apps.mjs'
import { reloadUnderLoad } from './support/reload-under-load.mjs'

for (const app of APPS) {
  const title = `${app.name}: a reload under load loses no request, in threads`
  if (app.noThreads === undefined) test.serial(title, reloadUnderLoad, app, ['--threads'])
  // `noThreads` is the reason; the title shows it.
  else test.skip(`${title}: ${app.noThreads}`, reloadUnderLoad, app, ['--threads'])
}
