// Choosing rows by clicks and keys, in the gallery and in the table alike.

import type { Pages } from "./pages";
import type { Store } from "./store";

/** A click on a row: it alone, with Ctrl one more or one less, with Shift all from the row in focus up to it. */
export function choose(event: MouseEvent, store: Store, pages: Pages, place: number): void {
  const here = pages.at(place);
  if (here === undefined) return;
  if (event.shiftKey) range(store, pages, place);
  else if (event.ctrlKey || event.metaKey) toggle(store, here.row);
  else {
    store.selection.put(Uint32Array.of(here.row));
    store.focus.put(here.row);
  }
}

/** Moves the focus by the keys, and selects by space; says whether the key was meant for it. */
export function steer(event: KeyboardEvent, store: Store, pages: Pages, across: number, show: (place: number) => void): void {
  const page = 4 * across;
  const steps: Record<string, number> = {
    ArrowRight: 1, ArrowLeft: -1, j: 1, k: -1, ArrowDown: across, ArrowUp: -across, PageDown: page, PageUp: -page,
    Home: -Infinity, End: Infinity,
  }; // prettier-ignore
  const { count } = store.shown.value;
  const at = store.focus.value === null ? undefined : pages.placeOf(store.focus.value);
  const step = event.ctrlKey || event.metaKey || event.altKey ? undefined : steps[event.key];
  if (step !== undefined && count > 0) {
    event.preventDefault();
    event.stopPropagation();
    const place = at === undefined ? 0 : Math.max(0, Math.min(count - 1, at + step));
    show(place);
    void pages.reach(place).then((here) => {
      if (here === undefined) return;
      if (event.shiftKey) range(store, pages, place);
      store.focus.put(here.row);
    });
  } else if (event.key === " " && at !== undefined) {
    event.preventDefault();
    event.stopPropagation();
    const here = pages.at(at);
    if (here !== undefined) toggle(store, here.row);
  }
}

function toggle(store: Store, row: number) {
  const rows = new Set(store.selection.value);
  if (!rows.delete(row)) rows.add(row);
  select(store, rows);
}

/** Selects everything from the row in focus to a place, as far as it was scrolled through. */
function range(store: Store, pages: Pages, place: number) {
  const from = store.focus.value === null ? undefined : pages.placeOf(store.focus.value);
  const rows = new Set(store.selection.value);
  for (let at = Math.min(from ?? place, place); at <= Math.max(from ?? place, place); at++) {
    const here = pages.at(at);
    if (here !== undefined) rows.add(here.row);
  }
  select(store, rows);
}

function select(store: Store, rows: Set<number>) {
  store.selection.put(Uint32Array.from(rows).sort());
}
