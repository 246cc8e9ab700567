// Qlik's client (npm @qlik/api) against a running Docket:
//
//   npm install && node client.js http://127.0.0.1:8080 API-KEY
//
// It makes groups named "client ..." and deletes them again. It ends with status 1
// at the first thing that is not as Qlik documents it.
import assert from "node:assert/strict";
import * as api from "@qlik/api/groups";

const [host, apiKey] = process.argv.slice(2);
// The client keeps answers of GETs for ten minutes unless told otherwise.
const as = (key) => ({ hostConfig: { authType: "apikey", host, apiKey: key }, noCache: true });
const options = as(apiKey);
const names = (page) => page.data.data.map((g) => g.name);
const roles = (group) => group.data.assignedRoles.map((r) => r.name);
const step = (text) => console.log("ok  " + text);

async function refused(call, status, code) {
  await assert.rejects(call, (err) => {
    assert.equal(err.status, status);
    assert.equal(err.data.errors[0].code, code);
    assert.equal(err.data.errors[0].status, status);
    assert.match(err.data.traceId, /^[0-9a-f]{32}$/);
    return true;
  });
  step(`${status} ${code}`);
}

// pages follows next() to the end and prev() back, and returns all names.
async function pages(first) {
  const forth = [first];
  while (forth.at(-1).next) forth.push(await forth.at(-1).next(options));
  assert.equal(first.prev, undefined);
  const back = [forth.at(-1)];
  while (back.at(-1).prev) back.push(await back.at(-1).prev(options));
  assert.deepEqual(back.reverse().map(names), forth.map(names));
  return forth.map(names);
}

const wanted = [];
for (let i = 0; i < 12; i++) wanted.push(`client a+b=c&d ${String(i).padStart(2, "0")}`);
const made = [];
for (const name of wanted) {
  const { status, data } = await api.createGroup({ name, assignedRoles: [{ name: "Users" }] }, options);
  assert.equal(status, 201);
  assert.match(data.id, /^[0-9a-f]{24}$/);
  assert.equal(data.links.self.href, `${host}/api/v1/groups/${data.id}`);
  assert.equal(data.status, "active");
  assert.deepEqual(data.assignedRoles.map((r) => [r.name, r.type, r.level]), [["Users", "default", "user"]]);
  made.push(data.id);
}
step(`created ${made.length} groups`);
await refused(() => api.createGroup({ name: wanted[0] }, options), 409, "GROUPS-8");
await refused(() => api.createGroup({ name: "" }, options), 400, "GROUPS-2");
await refused(() => api.createGroup({ name: "client x", assignedRoles: [{ name: "nobody" }] }, options), 400, "GROUPS-5");

const filter = 'name sw "CLIENT A+B=C&D " and not (status eq "disabled")';
for (const sort of ["+name", "-name", "createdAt"]) {
  const first = await api.getGroups({ filter, sort, limit: 5, totalResults: true }, options);
  assert.equal(first.data.totalResults, 12);
  const found = await pages(first);
  assert.deepEqual(found.map((p) => p.length), [5, 5, 2]);
  assert.deepEqual(found.flat(), sort === "-name" ? wanted.toReversed() : wanted);
  step(`listed with a filter by ${sort}, paged forth and back`);
}
await refused(() => api.getGroups({ filter: "name eq" }, options), 400, "GROUPS-3");
await refused(() => api.getGroups({ limit: 101 }, options), 400, "GROUPS-6");

const found = await pages(await api.filterGroups({ limit: 5, sort: "-name" }, { filter }, options));
assert.deepEqual(found.flat(), wanted.toReversed());
step("filter action, paged forth and back by POST");
const byId = await api.filterGroups({}, { filter: made.slice(0, 3).map((id) => `id eq "${id}"`).join(" or ") }, options);
assert.deepEqual(names(byId), wanted.slice(0, 3));
step("filter action by ids");
const system = await api.getGroups({ systemGroups: true }, options);
assert.deepEqual(names(system), ["com.qlik.Everyone"]);
step("system groups");

const [id] = made;
const before = await api.getGroup(id, options);
assert.deepEqual(roles(before), ["Users"]);
for (const path of ["/assignedRoles", "assignedRoles"]) {
  const { status } = await api.patchGroup(id, [{ op: "replace", path, value: [{ name: "Developers" }, { name: "Users" }] }], options);
  assert.equal(status, 204);
  assert.deepEqual(roles(await api.getGroup(id, options)), ["Developers", "Users"]);
  await api.patchGroup(id, [{ op: "replace", path, value: [{ id: before.data.assignedRoles[0].id }] }], options);
  assert.deepEqual(roles(await api.getGroup(id, options)), ["Users"]);
}
step("patched roles by name and by id");
await refused(() => api.patchGroup(id, [{ op: "replace", path: "name", value: "x" }], options), 400, "GROUPS-4");

const settings = await api.getGroupsSettings(options);
const everyone = "000000000000000000000001";
const flags = { auto: settings.data.autoCreateGroups, sync: settings.data.syncIdpGroups };
assert.equal(settings.data.systemGroups[everyone].name, "com.qlik.Everyone");
const patched = await api.patchGroupsSettings([
  { op: "replace", path: "/autoCreateGroups", value: !flags.auto },
  { op: "replace", path: "/syncIdpGroups", value: !flags.sync },
  { op: "replace", path: `/systemGroups/${everyone}/assignedRoles`, value: [{ name: "Hub users" }] },
], options);
assert.equal(patched.status, 204);
const after = (await api.getGroupsSettings(options)).data;
assert.deepEqual([after.autoCreateGroups, after.syncIdpGroups], [!flags.auto, !flags.sync]);
assert.deepEqual(after.systemGroups[everyone].assignedRoles.map((r) => r.name), ["Hub users"]);
await api.patchGroupsSettings([
  { op: "replace", path: "/autoCreateGroups", value: flags.auto },
  { op: "replace", path: "/syncIdpGroups", value: flags.sync },
  { op: "replace", path: `/systemGroups/${everyone}/assignedRoles`, value: settings.data.systemGroups[everyone].assignedRoles.map(({ id }) => ({ id })) },
], options);
assert.deepEqual((await api.getGroupsSettings(options)).data.systemGroups[everyone].assignedRoles, settings.data.systemGroups[everyone].assignedRoles);
step("settings read, patched and put back");

for (const each of made) assert.equal((await api.deleteGroup(each, options)).status, 204);
step(`deleted ${made.length} groups`);
await refused(() => api.getGroup(id, options), 404, "GROUPS-7");
await refused(() => api.deleteGroup(id, options), 404, "GROUPS-7");
await refused(() => api.getGroup("no-such-id", options), 404, "GROUPS-7");
await refused(() => api.getGroups({}, as("dk_wrong")), 401, "HTTP-401");
assert.equal((await api.getGroups({ filter, totalResults: true }, options)).data.totalResults, 0);
console.log("done");
