// A round through a client for JavaScript against a running event store:
//
//   npm install && node client.js @eventstore/db-client esdb://127.0.0.1:2113?tls=false
//
// @kurrent/kurrentdb-client speaks the same protocol under other names. It ends with status 1 at the first thing that is
// not as the client documents it.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

const [packageName, connection] = process.argv.slice(2);
const api = await import(packageName);
const kurrent = packageName.startsWith("@kurrent/");
const connect = (api.KurrentDBClient ?? api.EventStoreDBClient).connectionString;
const client = connect([connection]);
const expecting = (revision) => (kurrent ? { streamState: revision } : { expectedRevision: revision });
const next = (result) => result.nextExpectedRevision;
const step = (text) => console.log("ok  " + text);
const fresh = (name) => `${name}-${randomUUID()}`;
const event = (type, data = { some: "thing" }) => api.jsonEvent({ type, data, metadata: { by: "test" } });
const many = (n, type = "happened") => Array.from({ length: n }, (_, i) => event(type, { i }));

async function all(stream) {
  const found = [];
  for await (const e of stream) found.push(e);
  return found;
}

async function refused(what, call, type, check = () => {}) {
  await assert.rejects(call, (err) => {
    assert.ok(err instanceof type, `${what}: ${err.name} ${err.message}`);
    check(err);
    return true;
  });
  step("refused: " + what);
}

// waiting is a promise with its ends outside, that fails after a while.
function waiting(what) {
  const w = {};
  w.done = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("waited in vain for " + what)), 20_000);
    w.resolve = (v) => (clearTimeout(timer), resolve(v));
    w.reject = (e) => (clearTimeout(timer), reject(e));
  });
  return w;
}

// Appends. The clients send them over one BatchAppend call, except with credentials of one's own.
const a = fresh("a");
const written = many(10);
const first = await client.appendToStream(a, written, expecting(api.NO_STREAM));
assert.equal(first.success, true);
assert.equal(next(first), 9n);
assert.ok(first.position.commit > 0n);
const again = await client.appendToStream(a, written, expecting(api.NO_STREAM));
assert.deepEqual([next(again), again.position], [9n, first.position]);
step("appended, and again by a retry");
const second = await client.appendToStream(a, event("more"), expecting(9n));
assert.equal(next(second), 10n);
await client.appendToStream(a, event("more"), expecting(api.STREAM_EXISTS));
const single = fresh("single");
await client.appendToStream(single, many(3), { ...expecting(api.ANY), credentials: { username: "admin", password: "changeit" } });
assert.equal((await all(client.readStream(single))).length, 3);
step("appended with every expectation, batched and not");
const parallel = await Promise.all(Array.from({ length: 50 }, (_, i) => client.appendToStream(fresh("p"), many(1 + (i % 3)), expecting(api.NO_STREAM))));
assert.ok(parallel.every((r, i) => next(r) === BigInt(i % 3)));
step("50 appends at once");
const large = fresh("large");
await client.appendToStream(large, Array.from({ length: 8 }, () => event("large", { text: "x".repeat(100_000) })), { batchAppendSize: 200_000 });
assert.equal((await all(client.readStream(large))).length, 8);
step("one append in several messages");

const wrong = (expected, actual) => (err) => {
  assert.equal(err.streamName, a);
  assert.equal(kurrent && err.expectedState !== undefined ? err.expectedState : err.expectedVersion, expected);
  assert.equal(kurrent && err.actualState !== undefined ? err.actualState : err.actualVersion, actual);
};
for (const credentials of [undefined, { username: "admin", password: "changeit" }]) {
  const how = credentials ? ", alone" : ", batched";
  await refused("append at a wrong revision" + how, () => client.appendToStream(a, event("no"), { ...expecting(5n), credentials }), api.WrongExpectedVersionError, wrong(5n, 11n));
  await refused("append where there should be no stream" + how, () => client.appendToStream(a, event("no"), { ...expecting(api.NO_STREAM), credentials }), api.WrongExpectedVersionError, wrong(api.NO_STREAM, 11n));
  await refused("append to a stream that should exist" + how, () => client.appendToStream(fresh("none"), event("no"), { ...expecting(api.STREAM_EXISTS), credentials }), api.WrongExpectedVersionError, (err) => assert.equal(err.actualVersion ?? err.actualState, api.NO_STREAM));
  await refused("an append too large" + how, () => client.appendToStream(fresh("no"), event("large", { text: "x".repeat(1 << 20) }), { credentials }), api.MaxAppendSizeExceededError, (err) => assert.equal(err.maxAppendSize, 1 << 20));
}

// Reads.
const read = await all(client.readStream(a));
assert.deepEqual(read.map((e) => Number(e.event.revision)), [...Array(12).keys()]);
assert.deepEqual(read.slice(0, 10).map((e) => [e.event.id, e.event.type, e.event.data, e.event.metadata]), written.map((e) => [e.id, e.type, e.data, e.metadata]));
assert.equal(read[9].event.position.commit, first.position.commit);
assert.ok(Math.abs(read[0].event.created - Date.now()) < 60_000);
const back = await all(client.readStream(a, { direction: api.BACKWARDS, fromRevision: api.END, maxCount: 3 }));
assert.deepEqual(back.map((e) => e.event.revision), [11n, 10n, 9n]);
const middle = await all(client.readStream(a, { fromRevision: 4n, maxCount: 2 }));
assert.deepEqual(middle.map((e) => e.event.revision), [4n, 5n]);
await refused("reading a stream that is not there", () => all(client.readStream(fresh("none"))), api.StreamNotFoundError);
const whole = (await all(client.readAll())).filter((e) => e.event.streamId === a);
assert.deepEqual(whole.map((e) => e.event.id), read.map((e) => e.event.id));
const before = await all(client.readAll({ direction: api.BACKWARDS, fromPosition: first.position, maxCount: 1 }));
assert.equal(before[0].event.revision, 8n);
const from = await all(client.readAll({ fromPosition: first.position, maxCount: 1 }));
assert.equal(from[0].event.revision, 9n);
if (kurrent) { // the other one filters subscriptions only
  const filtered = await all(client.readAll({ filter: api.streamNameFilter({ prefixes: [a] }) }));
  assert.equal(filtered.length, 12);
}
step("read forwards, backwards, in parts, of everything, filtered");
const binary = fresh("binary");
await client.appendToStream(binary, api.binaryEvent({ type: "raw", data: Uint8Array.of(0, 255, 1), metadata: Uint8Array.of(7) }));
const [raw] = await all(client.readStream(binary));
assert.deepEqual([raw.event.isJson, [...raw.event.data], [...raw.event.metadata]], [false, [0, 255, 1], [7]]);
step("binary events");
const links = fresh("links");
await client.appendToStream(links, ["2@" + a, "0@" + fresh("nowhere")].map((data) => api.binaryEvent({ type: "$>", data: Buffer.from(data) })));
const resolved = await all(client.readStream(links, { resolveLinkTos: true }));
assert.deepEqual([resolved[0].event.id, resolved[0].link.streamId], [written[2].id, links]);
assert.equal(resolved[1].event, undefined);
step("links");

// Subscriptions.
{
  const got = [], caughtUp = waiting("caught up"), live = waiting("live event"), ended = waiting("end");
  const s = client.subscribeToStream(a, { fromRevision: 3n });
  s.on("caughtUp", (info) => caughtUp.resolve(info));
  s.on("error", live.reject);
  s.on("end", ended.resolve);
  s.on("data", (e) => (got.push(e.event.revision), e.event.type === "live" && live.resolve()));
  const info = await caughtUp.done;
  if (kurrent) {
    assert.equal(info.revision, 11n);
    assert.ok(Math.abs(info.date - Date.now()) < 60_000);
  }
  assert.deepEqual(got, [4n, 5n, 6n, 7n, 8n, 9n, 10n, 11n]);
  await client.appendToStream(a, event("live"));
  await live.done;
  assert.equal(got.at(-1), 12n);
  await s.unsubscribe();
  await ended.done;
  step("subscribed to a stream, caught up, live, left");
}
{
  const b = fresh("b");
  await client.appendToStream(b, many(5, "wanted"));
  const got = [], checkpoints = [], caughtUp = waiting("caught up"), live = waiting("live event");
  const s = client.subscribeToAll({
    fromPosition: api.START,
    filter: api.streamNameFilter({ prefixes: [b], checkpointInterval: 1, maxSearchWindow: 8, checkpointReached: (_, p) => void checkpoints.push(p.commit) }),
  });
  s.on("caughtUp", caughtUp.resolve);
  s.on("error", live.reject);
  s.on("data", (e) => (got.push(e.event.revision), e.event.type === "live" && live.resolve()));
  const info = await caughtUp.done;
  if (kurrent) assert.ok(info.position.commit > 0n);
  assert.deepEqual(got, [0n, 1n, 2n, 3n, 4n]);
  assert.ok(checkpoints.length > 5 && checkpoints.every((p, i) => i === 0 || p > checkpoints[i - 1]), String(checkpoints));
  await client.appendToStream(fresh("other"), event("unwanted"));
  await client.appendToStream(b, event("live"));
  await live.done;
  assert.deepEqual(got, [0n, 1n, 2n, 3n, 4n, 5n]);
  await s.unsubscribe();
  step("subscribed to everything by stream prefix, with checkpoints, live");
}
for (const [name, filter] of Object.entries({
  "type prefixes": api.eventTypeFilter({ prefixes: ["lar", "mor"] }),
  "type expression": api.eventTypeFilter({ regex: "^(large|more)$" }),
})) {
  const types = new Set(), caughtUp = waiting("caught up");
  const s = client.subscribeToAll({ filter });
  s.on("caughtUp", caughtUp.resolve);
  s.on("error", caughtUp.reject);
  s.on("data", (e) => types.add(e.event.type));
  await caughtUp.done;
  assert.deepEqual([...types].sort(), ["large", "more"]);
  await s.unsubscribe();
  step("subscribed to everything by " + name);
}

// Persistent subscriptions.
{
  const p = fresh("p"), group = "group";
  await client.appendToStream(p, many(3));
  await client.createPersistentSubscriptionToStream(p, group, api.persistentSubscriptionToStreamSettingsFromDefaults({ startFrom: api.START, maxRetryCount: 1 }));
  await refused("a group that is there", () => client.createPersistentSubscriptionToStream(p, group, api.persistentSubscriptionToStreamSettingsFromDefaults()), api.PersistentSubscriptionExistsError, (err) => assert.deepEqual([err.streamName, err.groupName], [p, group]));
  const seen = [], acked = waiting("three events and a retry"), replayed = waiting("a replay");
  const s = client.subscribeToPersistentSubscriptionToStream(p, group, { bufferSize: 2 });
  s.on("error", acked.reject);
  s.on("data", async (e) => {
    seen.push([e.event.revision, e.retryCount]);
    if (e.link) return await s.ack(e), replayed.resolve(e);
    if (e.event.revision === 0n && e.retryCount === 0) return s.nack("retry", "again", e);
    if (e.event.revision === 1n) return s.nack("park", "later", e);
    await s.ack(e);
    if (seen.length === 4) acked.resolve();
  });
  await acked.done;
  assert.deepEqual(seen.map(String).sort(), ["0,0", "0,1", "1,0", "2,0"]);
  let info;
  for (let i = 0; i < 200; i++) {
    info = await client.getPersistentSubscriptionToStreamInfo(p, group);
    if (info.stats.parkedMessageCount === 1n || info.stats.parkedMessageCount === 1) break;
    await new Promise((r) => setTimeout(r, 25));
  }
  assert.equal(Number(info.stats.parkedMessageCount), 1);
  assert.deepEqual([info.eventSource, info.groupName, info.connections.length], [p, group, 1]);
  await client.replayParkedMessagesToStream(p, group);
  assert.equal((await replayed.done).event.revision, 1n);
  await client.createPersistentSubscriptionToAll(group, api.persistentSubscriptionToAllSettingsFromDefaults({ startFrom: api.START }), { filter: api.streamNameFilter({ prefixes: [p] }) });
  const listed = await client.listAllPersistentSubscriptions();
  assert.deepEqual(listed.map((i) => i.eventSource).sort(), ["$all", p].sort());
  const one = waiting("an event of everything");
  const all = client.subscribeToPersistentSubscriptionToAll(group);
  all.on("error", one.reject);
  all.on("data", async (e) => (await all.ack(e), one.resolve(e)));
  assert.equal((await one.done).event.streamId, p);
  await all.unsubscribe();
  await s.unsubscribe();
  await client.deletePersistentSubscriptionToAll(group);
  await client.deletePersistentSubscriptionToStream(p, group);
  await refused("a group that is gone", () => client.getPersistentSubscriptionToStreamInfo(p, group), api.PersistentSubscriptionDoesNotExistError);
  step("persistent subscriptions: acknowledged, retried, parked, replayed, on everything");
}

// Metadata.
const empty = await client.getStreamMetadata(a);
assert.equal(empty.metadata, undefined);
await client.setStreamMetadata(a, { maxCount: 2, maxAge: 3600, custom: "value", acl: { readRoles: "$all" } });
const { metadata } = await client.getStreamMetadata(a);
assert.deepEqual([metadata.maxCount, metadata.maxAge, metadata.custom, metadata.acl.readRoles], [2, 3600, "value", "$all"]);
assert.deepEqual((await all(client.readStream(a))).map((e) => e.event.revision), [11n, 12n]);
step("metadata");

// Deletion.
await refused("deleting at a wrong revision", () => client.deleteStream(a, { expectedRevision: 3n }), api.WrongExpectedVersionError, wrong(3n, 12n));
const deleted = await client.deleteStream(a, { expectedRevision: 12n });
assert.ok(deleted.position.commit > 0n);
await refused("reading what was deleted", () => all(client.readStream(a)), api.StreamNotFoundError);
assert.equal(next(await client.appendToStream(a, event("back"), expecting(api.NO_STREAM))), 13n);
assert.deepEqual((await all(client.readStream(a))).map((e) => e.event.revision), [13n]);
step("deleted and written again");
await client.tombstoneStream(a);
for (const [what, call] of Object.entries({
  "reading a tombstone": () => all(client.readStream(a)),
  "appending to a tombstone": () => client.appendToStream(a, event("no")),
  "appending to a tombstone alone": () => client.appendToStream(a, event("no"), { credentials: { username: "admin", password: "changeit" } }),
  "deleting a tombstone": () => client.deleteStream(a),
})) await refused(what, call, api.StreamDeletedError, (err) => assert.equal(err.streamName, a));

// What is left out says so.
await assert.rejects(() => client.getProjectionState("$by_category"), /does not offer server-side projections/);
step("projections are refused in words");
await client.dispose();
console.log("done");
