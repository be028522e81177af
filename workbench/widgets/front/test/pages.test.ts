import assert from "node:assert/strict";
import { test } from "node:test";
import { choose, steer } from "../src/choosing";
import { type Pages, openPages } from "../src/pages";
import { type Store, openStore } from "../src/store";
import { fakeModel, settled } from "./model";

const ROWS = 10_000;

/** A store with a kernel of 10,000 rows behind it, shown backwards: row 9,999 first. */
function open() {
  const about = { rows: ROWS, columns: [], classes: [], methods: [] };
  const model = fakeModel({ about, view_layout: {}, filter: "", brushes: {}, selection: new DataView(new ArrayBuffer(0)), focus: null, slices: [] });
  const store = openStore(model);
  const kernel = { version: 1 };
  let answered = 0;
  async function answer() {
    for (; answered < model.sent.length; answered++) {
      const { id, do: action, start = 0, count = 0, row = 0, first = 0, last = 0 } = model.sent[answered] as Record<string, never>;
      const { version } = kernel;
      const from = (place: number) => ROWS - 1 - place;
      if (action === "page") {
        const rows = Array.from({ length: Math.min(count, ROWS - start) }, (_, at) => from(start + at));
        model.hear({ id, ok: { version, start, rows, marks: rows.map(() => 0), cells: {} } });
      } else if (action === "place") model.hear({ id, ok: { version, place: from(row) } });
      else if (action === "between") {
        const rows = Uint32Array.from({ length: Math.abs(last - first) + 1 }, (_, at) => from(Math.min(first, last) + at));
        model.hear({ id, ok: { version, count: rows.length } }, [new DataView(rows.buffer)]);
      } else model.hear({ id, ok: {} });
    }
    await settled();
  }
  const pages = openPages(store, "gallery");
  store.shown.value = { version: 1, count: ROWS, of: ROWS, error: null };
  pages.reset(1, { pictures: null, cells: [] });
  const asked = (action: string) => model.sent.filter((message) => message["do"] === action);
  return { store, pages, answer, kernel, asked };
}

test("what the screen shows is asked for once, and found by its place", async () => {
  const { pages, answer, asked, store } = open();
  pages.want(0, 70);
  pages.want(0, 70);
  assert.deepEqual(asked("page").map(({ start, count }) => [start, count]), [[0, 72]]);
  await answer();
  assert.equal(pages.at(70)?.row, ROWS - 71);
  assert.equal(pages.at(120), undefined);
  assert.equal(pages.placeOf(ROWS - 71), 70);
  pages.want(30, 71);
  assert.equal(asked("page").length, 1);
  store.close();
});

test("a jump drops what was asked for before it, and few pages are kept", async () => {
  const { pages, answer, store } = open();
  for (let place = 0; place < ROWS; place += 8) {
    pages.want(place, place);
    await answer();
  }
  assert.equal(pages.at(0), undefined);
  assert.equal(pages.at(ROWS - 1)?.row, 0);
  pages.want(0, 59);
  pages.want(6000, 6050);
  await answer();
  assert.equal(pages.at(6000)?.row, ROWS - 6001);
  store.close();
});

test("a reply of another order is not shown", async () => {
  const { pages, answer, kernel, store } = open();
  pages.want(0, 10);
  kernel.version = 2;
  await answer();
  assert.equal(pages.at(0), undefined);
  pages.reset(2, { pictures: null, cells: [] });
  pages.want(0, 10);
  await answer();
  assert.equal(pages.at(0)?.row, ROWS - 1);
  store.close();
});

test("a refresh asks for the screen, however far it is from what was loaded before", async () => {
  const { pages, answer, asked, store } = open();
  pages.want(0, 59);
  await answer();
  pages.want(9000, 9070);
  await answer();
  pages.refresh();
  assert.deepEqual(asked("page").slice(-1).map(({ start, count }) => [start, count]), [[9000, 72]]);
  assert.equal(pages.at(9000)?.row, ROWS - 9001); // the old until the new is here
  store.close();
});

test("a row that was never loaded is found, and remembered until the order changes", async () => {
  const { pages, answer, asked, store } = open();
  assert.equal(pages.placeOf(5), undefined);
  const found = pages.find(5);
  await answer();
  assert.equal(await found, ROWS - 6);
  assert.equal(pages.placeOf(5), ROWS - 6);
  assert.equal(await pages.find(5), ROWS - 6);
  assert.equal(asked("place").length, 1);
  pages.reset(2, { pictures: null, cells: [] });
  assert.equal(pages.placeOf(5), undefined);
  store.close();
});

const click = (held: Partial<MouseEvent> = {}) => ({ shiftKey: false, ctrlKey: false, metaKey: false, ...held }) as MouseEvent;

test("clicks choose one row, one more, one less, and all between", async () => {
  const { pages, answer, store } = open();
  pages.want(0, 59);
  await answer();
  choose(click(), store, pages, 3);
  assert.deepEqual([[...store.selection.value], store.focus.value], [[ROWS - 4], ROWS - 4]);
  choose(click({ ctrlKey: true }), store, pages, 1);
  assert.deepEqual([...store.selection.value], [ROWS - 4, ROWS - 2]);
  choose(click({ metaKey: true }), store, pages, 1);
  choose(click({ shiftKey: true }), store, pages, 5);
  for (let turn = 0; turn < 3; turn++) await answer();
  assert.deepEqual([...store.selection.value], [ROWS - 6, ROWS - 5, ROWS - 4]);
  choose(click(), store, pages, 500); // not there yet: nothing to choose
  assert.equal(store.focus.value, ROWS - 4);
  store.close();
});

test("clicks on rows that are on their way all count, in their order", async () => {
  const { pages, answer, store } = open();
  choose(click(), store, pages, 3);
  choose(click({ ctrlKey: true }), store, pages, 5);
  pages.want(0, 59);
  await answer();
  choose(click({ ctrlKey: true }), store, pages, 7); // that one is here, and waits for the two before it all the same
  for (let turn = 0; turn < 3; turn++) await answer();
  assert.deepEqual([...store.selection.value], [ROWS - 8, ROWS - 6, ROWS - 4]);
  assert.equal(store.focus.value, ROWS - 4);
  assert.equal(pages.clicks, null);
  choose(click(), store, pages, 500);
  pages.reset(2, { pictures: null, cells: [] }); // another order: what stood there is not known any more
  for (let turn = 0; turn < 3; turn++) await answer();
  assert.deepEqual([[...store.selection.value].length, pages.clicks], [3, null]);
  store.close();
});

/** Presses keys in a gallery of ten rows a line, four lines a screen. */
function presser(store: Store, pages: Pages, show: (place: number) => void) {
  const none = { shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, preventDefault() {}, stopPropagation() {} };
  return (key: string, held: Partial<KeyboardEvent> = {}) =>
    steer({ key, ...none, ...held } as KeyboardEvent, store, pages, { across: 10, screen: 4 }, show);
}

test("no key is lost while the place of the row in focus is looked up", async () => {
  const { pages, answer, asked, store } = open();
  const press = presser(store, pages, () => undefined);
  store.focus.put(ROWS - 1 - 500);
  void pages.find(ROWS - 1 - 500); // as the gallery does, to show it
  for (let turn = 0; turn < 5; turn++) press("ArrowRight");
  for (let turn = 0; turn < 6; turn++) await answer();
  assert.equal(store.focus.value, ROWS - 1 - 505);
  assert.equal(asked("place").length, 1);
  press("ArrowDown"); // of that row the place is known
  for (let turn = 0; turn < 3; turn++) await answer();
  assert.equal(store.focus.value, ROWS - 1 - 515);
  assert.equal(asked("place").length, 1);
  store.close();
});

test("keys go on from where they aim, also when they come sooner than an answer", async () => {
  const { pages, answer, store } = open();
  const shown: number[] = [];
  const press = presser(store, pages, (place) => shown.push(place));
  press("End");
  await settled();
  press("ArrowUp");
  press("PageUp");
  await settled();
  press("ArrowLeft");
  for (let turn = 0; turn < 4; turn++) await answer();
  assert.deepEqual(shown, [ROWS - 1, ROWS - 11, ROWS - 51, ROWS - 52]);
  assert.equal(store.focus.value, 51);
  assert.equal(pages.aim, null);
  press(" ");
  assert.deepEqual([...store.selection.value], [51]);
  press("a", { ctrlKey: true });
  await answer();
  await settled();
  assert.equal(store.selection.value.length, ROWS);
  press("x");
  store.close();
});
