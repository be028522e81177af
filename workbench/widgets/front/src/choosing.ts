// Choosing rows by clicks and keys, in the gallery and in the table alike.

import type { Pages } from "./pages";
import type { Store } from "./store";
import { told } from "./wire";

/** A click on a row: it alone, with Ctrl one more or one less, with Shift all from the row in focus up to it. */
export function choose(event: MouseEvent, store: Store, pages: Pages, place: number): void {
  const several = event.ctrlKey || event.metaKey;
  const here = pages.at(place);
  if (event.shiftKey) click(store, pages, () => range(store, pages, place));
  else if (here !== undefined && pages.clicks === null) pick(store, here.row, several);
  else {
    // On its way: which row it will be is known to the kernel already.
    click(store, pages, async () => {
      const row = here?.row ?? (await pages.between(place, place, "click"))[0];
      if (row !== undefined) pick(store, row, several);
    });
  }
}

/** Does what a click says after those before it: each counts, in their order, however late their rows are known. */
function click(store: Store, pages: Pages, act: () => Promise<void>) {
  const mine = (pages.clicks ?? Promise.resolve())
    .then(act)
    .catch((error: unknown) => told(error, store.say))
    .then(() => {
      if (pages.clicks === mine) pages.clicks = null;
    });
  pages.clicks = mine;
}

function pick(store: Store, row: number, several: boolean) {
  if (several) toggle(store, row);
  else {
    store.selection.put(Uint32Array.of(row));
    store.focus.put(row);
  }
}

/** How far the keys go: cells of a line, and lines of a screen. */
export interface Steps {
  across: number;
  screen: number;
}

/** Moves the focus by the keys, and selects by space; what it takes, nobody else gets. */
export function steer(event: KeyboardEvent, store: Store, pages: Pages, { across, screen }: Steps, show: (place: number) => void): void {
  const page = Math.max(1, screen) * across;
  const steps: Record<string, number> = {
    ArrowRight: 1, ArrowLeft: -1, j: 1, k: -1, ArrowDown: across, ArrowUp: -across, PageDown: page, PageUp: -page,
    Home: -Infinity, End: Infinity,
  }; // prettier-ignore
  const held = event.ctrlKey || event.metaKey;
  const step = held || event.altKey ? undefined : steps[event.key];
  const all = held && !event.altKey && event.key.toLowerCase() === "a";
  if (step === undefined && !all && (event.key !== " " || store.focus.value === null)) return;
  event.preventDefault();
  event.stopPropagation();
  const { count } = store.shown.value;
  if (step !== undefined && count > 0) void walk(store, pages, step, event.shiftKey, show);
  else if (all) void take(store, pages.between(0, Math.max(0, count - 1)));
  else if (event.key === " " && store.focus.value !== null) toggle(store, store.focus.value);
}

/** Adds a row to the selection, or takes it out. */
export function toggle(store: Store, row: number): void {
  const rows = new Set(store.selection.value);
  if (!rows.delete(row)) rows.add(row);
  select(store, rows);
}

async function walk(store: Store, pages: Pages, step: number, extend: boolean, show: (place: number) => void) {
  const focus = store.focus.value;
  let place = -1;
  try {
    const found = pages.aim !== null || focus === null ? null : await pages.find(focus);
    const at = pages.aim ?? found; // a press before this one may have waited for the same
    const last = store.shown.value.count - 1;
    place = at === null ? (step === Infinity ? last : 0) : Math.max(0, Math.min(last, at + step));
    pages.aim = place;
    show(place);
    const row = pages.at(place)?.row ?? (await pages.between(place, place))[0];
    if (pages.aim !== place || row === undefined) return;
    if (extend) await range(store, pages, place);
    store.focus.put(row);
  } catch (error) {
    told(error, store.say);
  }
  if (pages.aim === place) pages.aim = null; // else a later press is on its way
}

/** Selects everything from the row in focus to a place, whether it was ever loaded or not. */
async function range(store: Store, pages: Pages, place: number) {
  const focus = store.focus.value;
  const from = async () => (focus === null ? place : ((await pages.find(focus)) ?? place));
  await take(store, from().then((first) => pages.between(first, place)));
}

async function take(store: Store, found: Promise<Uint32Array>) {
  try {
    const rows = new Set(store.selection.value);
    for (const row of await found) rows.add(row);
    select(store, rows);
  } catch (error) {
    told(error, store.say);
  }
}

function select(store: Store, rows: Set<number>) {
  store.selection.put(Uint32Array.from(rows).sort());
}
