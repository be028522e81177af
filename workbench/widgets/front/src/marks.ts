// Marks of the row in focus: what stands in the log, and what was just painted and is on its way there.

import { type Signal, signal } from "@preact/signals";
import { type Mask, empty, fromCounts, toCounts } from "./mask";
import type { Marks } from "./stage";
import type { Store } from "./store";
import { type Cell, type Region, type SpanRegion, Superseded, Refused } from "./wire";

export interface Detail {
  row: number;
  key: string;
  cells: Record<string, Cell>;
  size: [number, number] | null;
  text: string | null;
  /** Characters of the whole text, of which a very long one has the beginning here. */
  length: number;
  regions: Record<"irrelevant" | "relevant", Region | null>;
  standing: { author: string; role: string; how: string }[];
  history: { id: number; kind: string; words: string; author: string; time: string; how: string; undone: boolean }[];
  mime: string | null;
}

export interface Looked extends Detail {
  picture: ImageBitmap | null;
}

export interface Desk {
  looked: Signal<Looked | null>;
  marks: Signal<Marks | null>;
  spans: Signal<Record<"irrelevant" | "relevant", [number, number][]>>;
  /** Shows a row; what is known of it is asked for. */
  look(row: number): Promise<void>;
  /** Asks again for what stands, after an undo or when somebody else wrote. */
  again(): Promise<void>;
  /** Writes what is marked now; "saved" is said when it is on the disk, and only then. */
  save(marks: Marks): void;
  saveSpans(spans: Record<"irrelevant" | "relevant", [number, number][]>): void;
  /** Writes once more what could not be written. */
  retry(): void;
  act(action: string, fields?: Record<string, unknown>): Promise<void>;
}

const KEPT = 12; // rows that were looked at, or will be next

/** What a row has, as it was when that many strokes of this page had been sent. */
interface Known {
  strokes: number;
  found: Promise<Looked>;
}

/** Opens the desk on which one row at a time lies. */
export function openDesk(store: Store): Desk {
  const looked = signal<Looked | null>(null);
  const marks = signal<Marks | null>(null);
  const spans = signal<Record<"irrelevant" | "relevant", [number, number][]>>({ irrelevant: [], relevant: [] });
  const kept = new Map<number, Known>();
  const sent = new Map<number, number>(); // strokes by row
  // What could not be written is kept, row by row: a stroke on another row must not make anybody forget it.
  const failed = new Map<number, Record<string, unknown>>();
  let redo: (() => void) | null = null; // an action that could not be done
  let flying = 0; // strokes on their way to the disk
  let wanted = -1;
  let stale = false; // what is shown waits for these strokes

  async function fetchRow(row: number): Promise<Looked> {
    const { ok, buffers } = await store.wire.ask<Detail>("detail", { row });
    const data = buffers[0];
    const there = data !== undefined && data.byteLength > 0 && ok.mime !== null;
    return { ...ok, picture: there ? await createImageBitmap(new Blob([data as DataView<ArrayBuffer>], { type: ok.mime ?? "" })) : null };
  }

  function fetched(row: number): Known {
    const known = kept.get(row) ?? { strokes: sent.get(row) ?? 0, found: fetchRow(row) };
    known.found.catch(() => kept.delete(row));
    kept.delete(row);
    kept.set(row, known);
    for (const old of [...kept.keys()].slice(0, Math.max(0, kept.size - KEPT))) kept.delete(old);
    return known;
  }

  /** Fetches the row that comes next, for whoever goes on. */
  async function ahead(row: number) {
    try {
      const { ok } = await store.wire.ask<{ row: number | null }>("go", { row, by: "next" }, "ahead");
      if (ok.row !== null && wanted === row) fetched(ok.row);
    } catch {
      // Nobody has asked for it yet: what is wrong is told when somebody does.
    }
  }

  function show(found: Looked) {
    const unsaved = failed.get(found.row) as { irrelevant?: Region; relevant?: Region } | undefined;
    if (unsaved !== undefined) {
      const { irrelevant, relevant } = found.regions;
      found = { ...found, regions: { irrelevant: unsaved.irrelevant ?? irrelevant, relevant: unsaved.relevant ?? relevant } };
    }
    looked.value = found;
    if (found.size !== null) {
      const [height, width] = found.size;
      const read = (region: Region | null): Mask =>
        region !== null && "counts" in region ? fromCounts(region.height, region.width, region.counts) : empty(height, width);
      marks.value = { irrelevant: read(found.regions.irrelevant), relevant: read(found.regions.relevant) };
    } else marks.value = null;
    const list = (region: Region | null) => (region !== null && "spans" in region ? (region as SpanRegion).spans : []);
    spans.value = { irrelevant: list(found.regions.irrelevant), relevant: list(found.regions.relevant) };
  }

  async function look(row: number) {
    wanted = row;
    const known = fetched(row);
    try {
      const here = await known.found;
      if (wanted !== row) return;
      if (known.strokes === (sent.get(row) ?? 0)) {
        show(here);
        if (store.about.value.can.annotate) void ahead(row);
        return;
      }
      // It was painted on meanwhile: what was asked for before shows less than there is.
      kept.delete(row);
      stale = true;
      settle();
    } catch (error) {
      if (error instanceof Refused) store.say(error.message);
      else if (!(error instanceof Superseded)) throw error;
    }
  }

  /** Shows what waited for strokes that are written now. */
  function settle() {
    if (!stale || flying > 0) return;
    stale = false;
    if (wanted >= 0) void look(wanted);
  }

  function write(row: number, fields: Record<string, unknown>) {
    flying += 1;
    store.saved.value = { state: "saving", words: "saving …" };
    sent.set(row, (sent.get(row) ?? 0) + 1);
    kept.delete(row);
    store.wire.ask<{ saved: string }>("mark", fields).then(
      ({ ok }) => {
        flying -= 1;
        failed.delete(row); // each stroke has all of its row
        store.marked.value += 1;
        if (failed.size > 0) tellFailed("Some marks are not saved yet.");
        else if (flying === 0) store.saved.value = { state: "saved", words: `saved to disk ${clock(ok.saved)}` };
        settle();
      },
      (error: unknown) => {
        flying -= 1;
        if (error instanceof Superseded) return;
        const again = error instanceof Refused && error.again;
        if (again) failed.set(row, fields);
        else stale = true; // it never will be written: what stands is shown again
        tellFailed(error instanceof Error ? error.message : String(error));
        settle();
      },
    );
  }

  function tellFailed(words: string) {
    store.saved.value = { state: "failed", words, again: failed.size > 0 || redo !== null };
  }

  /** What is said now of each role; null for one that was never spoken of, and is not now: it is left unknown. */
  function said<T extends Region>(regionOf: (role: "irrelevant" | "relevant") => { region: T; empty: boolean }) {
    const now = looked.value;
    if (now === null) return;
    const of = (role: "irrelevant" | "relevant") => {
      const { region, empty: nothing } = regionOf(role);
      return nothing && now.regions[role] === null ? null : region;
    };
    const regions = { irrelevant: of("irrelevant"), relevant: of("relevant") };
    if (regions.irrelevant === null && regions.relevant === null) return;
    looked.value = { ...now, regions };
    write(now.row, { row: now.row, ...regions });
  }

  return {
    looked,
    marks,
    spans,
    look,
    async again() {
      kept.clear();
      if (wanted >= 0) await look(wanted);
    },
    save(now) {
      said((role) => {
        const { height, width, data } = now[role];
        return { region: { height, width, counts: toCounts(now[role]) }, empty: !data.includes(1) };
      });
    },
    saveSpans(now) {
      spans.value = now;
      said((role) => ({ region: { spans: now[role] }, empty: now[role].length === 0 }));
    },
    retry() {
      const again = redo;
      redo = null;
      for (const [row, fields] of failed) write(row, fields);
      again?.();
    },
    async act(action, fields = {}) {
      redo = null;
      store.saved.value = { state: "saving", words: "saving …" };
      try {
        const { ok } = await store.wire.ask<{ saved: string; words?: string; row?: number | null }>(action, fields);
        if (failed.size > 0) tellFailed("Some marks are not saved yet.");
        else store.saved.value = { state: "saved", words: `${ok.words === undefined ? "" : `${ok.words} `}saved to disk ${clock(ok.saved)}` };
        store.marked.value += 1;
        kept.clear();
        if (ok.row != null && ok.row !== wanted) store.focus.put(ok.row);
        else if (wanted >= 0) await look(wanted);
      } catch (error) {
        if (error instanceof Superseded) return;
        if (error instanceof Refused && error.again) redo = () => void this.act(action, fields);
        tellFailed(error instanceof Error ? error.message : String(error));
      }
    },
  };
}

/** The time of day of an instant, in the reader's own zone. */
export function clock(iso: string): string {
  const time = new Date(iso);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}
