// Drives the sandbox's ChatBotKit with the vendor's own package from npm.
//
//     node tests/foreign/chatbotkit.mjs http://127.0.0.1:7704 FOLDER
//
// FOLDER is where `npm install` put @chatbotkit/sdk. The service must hold the sandbox's seed: the
// token `sandbox` and its child account `support-team`. Ends with `N passed, 0 failed` and exit code
// 0, or names what failed and ends with 1.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [base, folder] = process.argv.slice(2)
const require = createRequire(pathToFileURL(join(folder, 'package.json')))
const { SecretClient } = require('@chatbotkit/sdk/secret')
const { PartnerUserTokenClient } = require('@chatbotkit/sdk/partner/user/token')

const NOBODY = 'c000000000000000000000000'
const alias = `foreign-js-${process.pid}`
const secrets = new SecretClient({ secret: 'sandbox', baseUrl: base })

// The package gives an error its code and no status.
async function refused(call, code) {
  await assert.rejects(async () => await call(), (error) => {
    assert.equal(error.code, code)
    return true
  })
}

const cases = {
  async 'create, fetch, list, update, verify, revoke, delete'() {
    const request = {
      alias,
      name: 'by the Node package',
      kind: 'shared',
      type: 'bearer',
      value: 'first',
      meta: { managedBy: alias },
    }
    const { id } = await secrets.create(request)
    const item = await secrets.fetch(id)
    assert.equal(item.id, id)
    assert.equal('value' in item, false)
    assert.equal(typeof item.createdAt, 'number')
    assert.equal((await secrets.fetch(`@${alias}`)).id, id)
    const listed = await secrets.list({ take: 10, meta: { managedBy: alias } })
    assert.deepEqual(listed.items.map((one) => one.id), [id])
    assert.deepEqual((await secrets.list({ meta: { managedBy: 'nobody' } })).items, [])
    const streamed = []
    for await (const line of secrets.list().stream()) {
      if (line.type === 'item') streamed.push(line.data.id)
    }
    assert.ok(streamed.includes(id))
    await refused(() => secrets.create(request), 'CONFLICT')
    await refused(() => secrets.update(id, { alias, kind: 'bogus' }), 'BAD_REQUEST')
    assert.equal((await secrets.update(id, { alias, value: 'second' })).id, id)
    assert.equal((await secrets.verify(id)).status, 'authenticated')
    assert.ok((await secrets.authenticate(id)).url)
    assert.equal((await secrets.revoke(id)).id, id)
    assert.equal((await secrets.verify(id)).status, 'unauthenticated')
    await refused(() => secrets.revoke(id), 'NOT_FOUND')
    assert.equal((await secrets.delete(id)).id, id)
    await refused(() => secrets.fetch(id), 'NOT_FOUND')
  },
  async 'a value without a kind is thrown away'() {
    const { id } = await secrets.create({ name: 'no kind', value: 'lost' })
    assert.equal((await secrets.verify(id)).status, 'unauthenticated')
    await secrets.delete(id)
  },
  async 'who may not'() {
    await refused(() => new SecretClient({ secret: 'sk-nobody', baseUrl: base }).list(), 'NOT_AUTHENTICATED')
    const { id } = await secrets.create({ kind: 'shared', value: 'x' })
    await refused(() => new SecretClient({ secret: 'stranger', baseUrl: base }).fetch(id), 'NOT_AUTHORIZED')
    await secrets.delete(id)
    const child = new SecretClient({ secret: 'sandbox', baseUrl: base, runAsUserId: 'support-team' })
    await refused(() => child.fetch(NOBODY), 'NOT_FOUND')
    const nobody = new SecretClient({ secret: 'sandbox', baseUrl: base, runAsUserId: 'stranger' })
    await refused(() => nobody.fetch(NOBODY), 'NOT_AUTHENTICATED')
  },
  async 'the older path of child accounts is not there unless it is switched on'() {
    const tokens = new PartnerUserTokenClient({ secret: 'sandbox', baseUrl: base })
    await assert.rejects(async () => await tokens.list('support-team'))
  },
}

let failed = 0
for (const [name, run] of Object.entries(cases)) {
  try {
    await run()
  } catch (error) {
    failed += 1
    console.log(`FAILED ${name}\n${error.stack}`)
  }
}
console.log(`${Object.keys(cases).length - failed} passed, ${failed} failed`)
process.exit(failed ? 1 : 0)
