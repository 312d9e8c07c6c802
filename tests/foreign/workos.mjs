// Drives the sandbox's WorkOS with the vendor's own package from npm, `@workos-inc/node`.
//
//     node tests/foreign/workos.mjs http://127.0.0.1:7703 http://127.0.0.1:7700 FOLDER
//
// The first address is the service, the second the sandbox's control port; FOLDER has node_modules.
// The service must hold the sandbox's seed: the API key `sandbox` and the applications
// `payroll-export` and `customer-portal`. Ends with `N passed, 0 failed` and exit code 0, or names
// what failed and ends with 1.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const [base, control, folder] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(folder), "package.json"));
const { WorkOS } = require("@workos-inc/node");

const { hostname, port } = new URL(base);
const client = (key) => new WorkOS(key, { apiHostname: hostname, port: Number(port), https: false });
const connect = client("sandbox").connect;
const all = await (await connect.listApplications()).autoPagination();
const named = (name) => all.find((one) => one.name === name);
const [machine, portal] = [named("payroll-export"), named("customer-portal")];

const secrets = () => connect.listApplicationClientSecrets({ id: machine.id });
const create = () => connect.createApplicationClientSecret({ id: machine.id });
const remove = (id) => connect.deleteClientSecret({ id });
const clear = async () => {
  for (const one of await secrets()) await remove(one.id);
};
const refused = (status, call) => assert.rejects(call, (error) => error.status === status);
const fault = (effect) =>
  fetch(`${control}/faults`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ service: "workos", operation: "create_client_secret", times: 1, effect }),
  });

const cases = {
  async applications_are_found_by_both_ids() {
    for (const application of [machine, portal]) {
      for (const id of [application.id, application.clientId]) {
        assert.equal((await connect.getApplication({ id })).clientId, application.clientId);
      }
    }
    assert.deepEqual([machine.applicationType, portal.applicationType], ["m2m", "oauth"]);
    await refused(404, () => connect.getApplication({ id: "nobody" }));
  },
  async a_secret_is_shown_once_and_deleted_once() {
    assert.deepEqual(await secrets(), []);
    const made = await create();
    assert.ok(made.secret);
    const listed = await secrets();
    assert.deepEqual(listed.map((one) => one.id), [made.id]);
    assert.equal(listed[0].secret, undefined);
    await remove(made.id);
    assert.deepEqual(await secrets(), []);
    await refused(404, () => remove(made.id));
  },
  async the_sixth_is_refused() {
    for (let count = 0; count < 5; count += 1) await create();
    await refused(422, create);
    await clear();
  },
  async a_wrong_key_is_a_stranger() {
    await refused(401, () => client("sk_wrong").connect.listApplications());
  },
  async a_lost_answer_leaves_one_more_secret_than_the_client_knows() {
    await fault("drop_after");
    const made = await create();
    const ids = (await secrets()).map((one) => one.id);
    assert.ok(ids.includes(made.id) && ids.length === 2, "the client sent it again, and says nothing of the first");
    await clear();
  },
};

let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}`);
    console.error(error);
  }
}
console.log(`${Object.keys(cases).length - failed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
