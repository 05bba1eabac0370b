import { readFileSync } from 'node:fs'
import { join } from 'node:path'

// In the source folder: the compiler does not copy it.
const fixtures = join(__dirname, '..', '..', '..', '__test__', 'fixtures')

/** A self-signed certificate for localhost, and its key. */
export const certificate = {
  key: readFileSync(join(fixtures, 'localhost-key.pem'), 'utf8'),
  cert: readFileSync(join(fixtures, 'localhost-certificate.pem'), 'utf8'),
}
