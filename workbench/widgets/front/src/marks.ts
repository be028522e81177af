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
  /** Writes what is marked now; "saved" is said when it is on the disk. */
  save(marks: Marks): void;
  saveSpans(spans: Record<"irrelevant" | "relevant", [number, number][]>): void;
  /** Writes once more what could not be written. */
  retry(): void;
  act(action: string, fields?: Record<string, unknown>): Promise<void>;
}

const AHEAD = 12; // rows kept that were looked at, or will be next

/** Opens the desk on which one row at a time lies. */
export function openDesk(store: Store): Desk {
  const looked = signal<Looked | null>(null);
  const marks = signal<Marks | null>(null);
  const spans = signal<Record<"irrelevant" | "relevant", [number, number][]>>({ irrelevant: [], relevant: [] });
  const kept = new Map<number, Promise<Looked>>();
  let flying = 0; // strokes on their way to the disk
  let wanted = -1;
  let failed: Record<string, unknown> | null = null;

  async function fetchRow(row: number): Promise<Looked> {
    const { ok, buffers } = await store.wire.ask<Detail>("detail", { row });
    const data = buffers[0];
    const there = data !== undefined && data.byteLength > 0 && ok.mime !== null;
    return { ...ok, picture: there ? await createImageBitmap(new Blob([data as DataView<ArrayBuffer>], { type: ok.mime ?? "" })) : null };
  }

  function show(found: Looked) {
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
    const found = kept.get(row) ?? fetchRow(row);
    kept.set(row, found);
    for (const old of [...kept.keys()].slice(0, Math.max(0, kept.size - AHEAD))) kept.delete(old);
    try {
      const here = await found;
      if (wanted === row) show(here);
    } catch (error) {
      kept.delete(row);
      if (error instanceof Refused) store.say(error.message);
      else if (!(error instanceof Superseded)) throw error;
    }
  }

  function write(fields: Record<string, unknown>) {
    flying += 1;
    failed = null;
    store.saved.value = { state: "saving", words: "saving …" };
    kept.delete(fields["row"] as number);
    store.wire.ask<{ saved: string }>("mark", fields).then(
      ({ ok }) => {
        flying -= 1;
        store.marked.value += 1;
        if (flying === 0 && failed === null) store.saved.value = { state: "saved", words: `saved to disk ${clock(ok.saved)}` };
      },
      (error: unknown) => {
        flying -= 1;
        if (error instanceof Superseded) return;
        failed = fields;
        store.saved.value = { state: "failed", words: error instanceof Error ? error.message : String(error) };
      },
    );
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
      const row = looked.value?.row;
      if (row === undefined) return;
      const region = ({ height, width, data }: Mask) => ({ height, width, counts: toCounts({ height, width, data }) });
      const before = looked.value?.regions;
      // A role that was never spoken of, and is not now, is left unknown.
      const said = (role: "irrelevant" | "relevant") =>
        now[role].data.includes(1) || before?.[role] != null ? region(now[role]) : null;
      const [irrelevant, relevant] = [said("irrelevant"), said("relevant")];
      if (irrelevant === null && relevant === null) return;
      if (looked.value !== null) looked.value = { ...looked.value, regions: { irrelevant, relevant } };
      write({ row, irrelevant, relevant });
    },
    saveSpans(now) {
      const row = looked.value?.row;
      if (row === undefined) return;
      spans.value = now;
      const before = looked.value?.regions;
      const said = (role: "irrelevant" | "relevant") =>
        now[role].length > 0 || before?.[role] != null ? { spans: now[role] } : null;
      const [irrelevant, relevant] = [said("irrelevant"), said("relevant")];
      if (irrelevant === null && relevant === null) return;
      if (looked.value !== null) looked.value = { ...looked.value, regions: { irrelevant, relevant } };
      write({ row, irrelevant, relevant });
    },
    retry() {
      if (failed !== null) write(failed);
    },
    async act(action, fields = {}) {
      store.saved.value = { state: "saving", words: "saving …" };
      try {
        const { ok } = await store.wire.ask<{ saved: string; words?: string; row?: number | null }>(action, fields);
        store.saved.value = { state: "saved", words: `${ok.words === undefined ? "" : `${ok.words} `}saved to disk ${clock(ok.saved)}` };
        store.marked.value += 1;
        kept.clear();
        if (ok.row != null && ok.row !== wanted) store.focus.put(ok.row);
        else if (wanted >= 0) await look(wanted);
      } catch (error) {
        if (error instanceof Superseded) return;
        store.saved.value = { state: "failed", words: error instanceof Error ? error.message : String(error) };
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
