import test from 'ava'
import { APPS } from './support/apps.mjs'
import { reloadUnderLoad } from './support/reload-under-load.mjs'

for (const app of APPS) {
  test.serial(`${app.name}: a reload under load loses no request, in processes`, reloadUnderLoad, app)
}
