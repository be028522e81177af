// Rows of the current order, page by page: what the screen shows is asked for, what has left it is forgotten.

import { type Signal, signal } from "@preact/signals";
import type { Cell, Reply, RowsReply } from "./wire";
import { type Store, asRows } from "./store";
import { Superseded, told } from "./wire";

export interface Tile {
  row: number;
  mark: number;
  url: string | null;
  cells: Record<string, Cell>;
}

export interface Wish {
  pictures: { column: string; size: number } | null;
  cells: string[];
}

export interface Pages {
  /** Grows when tiles arrive: who draws by it is drawn again. */
  arrived: Signal<number>;
  /** The tile at a place of the order, if it is here. */
  at(place: number): Tile | undefined;
  /** Asks for what is missing between two places; earlier wishes that have not begun are dropped. False if all is here. */
  want(first: number, last: number): boolean;
  /** Forgets everything, for another order or other columns. */
  reset(version: number, wish: Wish): void;
  /** Asks again for what is here, and shows the old until the new arrives. */
  refresh(): void;
  /** The place of a row, if it is in one of the pages here, or was found before. */
  placeOf(row: number): number | undefined;
  /** The place of a row, which the kernel is asked for if it is not known; null where it is not shown. */
  find(row: number): Promise<number | null>;
  /** The rows from one place to another, loaded or not; drops a question of the same purpose that waits. */
  between(first: number, last: number, purpose?: string): Promise<Uint32Array>;
  /** The place that the keys are on their way to: a press may come before the last one is answered. */
  aim: number | null;
  /** The end of the clicks that wait for their rows, each for the one before it. */
  clicks: Promise<void> | null;
  close(): void;
}

const PAGE = 8; // rows of one piece: what is asked for is hardly more than what the screen shows
const AT_ONCE = 75; // pieces of one request: the kernel gives 600 rows at most
const MOST = 450; // pieces kept

/** Opens a cache of pages for one view of the rows. */
export function openPages(store: Store, name: string): Pages {
  const pages = new Map<number, Tile[]>();
  const places = new Map<number, number>(); // of rows that were found in this order
  let seen = { first: 0, last: -1 }; // pages of the screen
  let asked: { first: number; last: number } | null = null;
  const arrived = signal(0);
  let version = -1;
  let wish: Wish = { pictures: null, cells: [] };
  let open = true;
  let looking: { row: number; version: number; found: Promise<number | null> } | null = null;

  async function fetch(first: number, last: number) {
    const mine = version;
    asked = { first, last };
    try {
      const reply = await store.wire.ask<RowsReply>(
        "page",
        { start: first * PAGE, count: (last - first + 1) * PAGE, pictures: wish.pictures, cells: wish.cells },
        name, // what scrolled past and was not answered yet is not worth an answer
      );
      // Of another order, or of columns that are no longer shown: of no use.
      if (!open || mine !== version || reply.ok.version !== version) return;
      const tiles = tilesOf(reply);
      for (let number = first; number <= last; number++) {
        pages.delete(number); // to the end
        pages.set(number, tiles.slice((number - first) * PAGE, (number - first + 1) * PAGE));
      }
      for (const old of [...pages.keys()].slice(0, Math.max(0, pages.size - MOST))) pages.delete(old);
      asked = null;
      arrived.value += 1;
    } catch (error) {
      if (!(error instanceof Superseded)) asked = null;
      told(error, store.say);
    }
  }

  async function look(row: number): Promise<number | null> {
    try {
      const { ok } = await store.wire.ask<{ version: number; place: number | null }>("place", { row }, `${name} place`);
      if (ok.version !== version) throw new Superseded("place");
      if (ok.place !== null) places.set(row, ok.place);
      return ok.place;
    } finally {
      if (looking?.row === row) looking = null;
    }
  }

  return {
    arrived,
    at: (place) => pages.get(Math.floor(place / PAGE))?.[place % PAGE],
    want(first, last) {
      const missing: number[] = [];
      seen = { first: Math.floor(first / PAGE), last: Math.floor(last / PAGE) };
      for (let number = seen.first; number <= seen.last; number++) {
        const page = pages.get(number);
        if (page === undefined) missing.push(number);
        else {
          pages.delete(number); // to the end: the last to be forgotten
          pages.set(number, page);
        }
      }
      const [low, high] = [missing[0], missing.at(-1)];
      if (low === undefined || high === undefined) return false;
      if (asked === null || asked.first > low || asked.last < high) void fetch(low, Math.min(high, low + AT_ONCE - 1));
      return true;
    },
    reset(next, wanted) {
      if (next !== version) places.clear();
      version = next;
      wish = wanted;
      asked = null;
      pages.clear();
      arrived.value += 1;
    },
    refresh() {
      for (const number of [...pages.keys()]) if (number < seen.first || number > seen.last) pages.delete(number);
      if (seen.last >= seen.first) void fetch(seen.first, Math.min(seen.last, seen.first + AT_ONCE - 1));
    },
    placeOf(row) {
      for (const [number, page] of pages) {
        const place = page.findIndex((tile) => tile.row === row);
        if (place >= 0) return number * PAGE + place;
      }
      return places.get(row);
    },
    async find(row) {
      const known = this.placeOf(row);
      if (known !== undefined) return known;
      if (looking?.row === row && looking.version === version) return looking.found; // a second question would drop the first
      const found = look(row);
      looking = { row, version, found };
      return found;
    },
    async between(first, last, purpose = "between") {
      const { ok, buffers } = await store.wire.ask<{ version: number }>("between", { first, last }, `${name} ${purpose}`);
      if (ok.version !== version) throw new Superseded("between");
      const rows = asRows(buffers[0]);
      if (first === last && rows[0] !== undefined) places.set(rows[0], first);
      return rows;
    },
    aim: null,
    clicks: null,
    close() {
      open = false;
      pages.clear();
    },
  };
}

/** Turns a reply into tiles. */
export function tilesOf({ ok, buffers }: Reply<RowsReply>): Tile[] {
  const data = buffers[0];
  return ok.rows.map((row, place) => {
    const type = ok.pictures?.types[place] ?? null;
    let url: string | null = null;
    if (type !== null && data !== undefined && ok.pictures !== undefined) {
      const begin = ok.pictures.offsets[place] ?? 0;
      const end = ok.pictures.offsets[place + 1] ?? begin;
      url = dataUrl(type, new Uint8Array(data.buffer, data.byteOffset + begin, end - begin));
    }
    const cells: Record<string, Cell> = {};
    for (const [column, values] of Object.entries(ok.cells)) cells[column] = values[place] ?? null;
    return { row, mark: ok.marks[place] ?? 0, url, cells };
  });
}

// Not the URL of a blob: the browser loads each of those as it loads a file, which takes longer than to decode it.
function dataUrl(type: string, bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return `data:${type};base64,${btoa(text)}`;
}
