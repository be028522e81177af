import assert from "node:assert/strict";
import { test } from "node:test";
import { Refused, Superseded, connect, told } from "../src/wire";
import { fakeModel } from "./model";

test("a reply finds the request with its number, whatever the order", async () => {
  const model = fakeModel();
  const wire = connect(model);
  const [first, second] = [wire.ask<string>("one"), wire.ask<string>("two", { row: 3 })];
  assert.deepEqual(model.sent.map(({ id: _, ...rest }) => rest), [{ do: "one" }, { do: "two", row: 3 }]);
  model.hear({ id: model.sent[1]?.["id"], ok: "second" }, [new DataView(new ArrayBuffer(2))]);
  model.hear({ id: model.sent[0]?.["id"], ok: "first" });
  assert.equal((await first).ok, "first");
  const { ok, buffers } = await second;
  assert.deepEqual([ok, buffers[0]?.byteLength], ["second", 2]);
  assert.equal(wire.waiting().count, 0);
});

test("a refusal is thrown with its words, and says whether it is worth another try", async () => {
  const model = fakeModel();
  const wire = connect(model);
  const [refused, busy] = [wire.ask("a"), wire.ask("b")];
  model.hear({ id: model.sent[0]?.["id"], error: "Not that." });
  model.hear({ id: model.sent[1]?.["id"], error: "Somebody writes.", again: true });
  await assert.rejects(refused, (error: Refused) => error.message === "Not that." && !error.again);
  await assert.rejects(busy, (error: Refused) => error.again);
});

test("a later request of a name drops earlier ones of it, and no others", async () => {
  const model = fakeModel();
  const wire = connect(model);
  const [old, other, next] = [wire.ask("page", {}, "view"), wire.ask("maps", {}, "maps"), wire.ask<number>("page", {}, "view")];
  await assert.rejects(old, Superseded);
  model.hear({ id: model.sent[0]?.["id"], ok: 1 }); // comes late, and to nobody
  model.hear({ id: model.sent[2]?.["id"], ok: 2 });
  model.hear({ id: model.sent[1]?.["id"], ok: 3 });
  assert.deepEqual([(await next).ok, (await other).ok], [2, 3]);
});

test("events reach who listens until it ends, and messages that are neither reach nobody", () => {
  const model = fakeModel();
  const wire = connect(model);
  const seen: unknown[] = [];
  const end = wire.on<{ count: number }>("shown", ({ count }) => seen.push(count));
  model.hear({ event: "shown", count: 4 });
  for (const garbage of [{}, { id: -1, ok: 1 }, { event: "toString" }, { event: "other" }]) model.hear(garbage);
  end();
  model.hear({ event: "shown", count: 5 });
  assert.deepEqual(seen, [4]);
});

test("closing rejects what waits, and leaves no listener", async () => {
  const model = fakeModel();
  const wire = connect(model);
  const waiting = wire.ask("page");
  wire.close();
  await assert.rejects(waiting, Superseded);
  assert.equal(model.listeners(), 0);
});

test("only words that are meant for people are told; what was dropped is passed over; mistakes are thrown on", () => {
  const words: string[] = [];
  told(new Refused("Read me."), (said) => words.push(said));
  told(new Superseded("page"), (said) => words.push(said));
  assert.deepEqual(words, ["Read me."]);
  assert.throws(() => told(new TypeError("mistake"), () => undefined), TypeError);
});
