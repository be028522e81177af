// Attributions of rows: asked for in small packets, the screen's first, and kept as whole numbers.

import { type Signal, signal } from "@preact/signals";
import type { Store } from "./store";
import { Superseded, told } from "./wire";

export interface HeatMap {
  height: number;
  width: number;
  signed: boolean;
  peak: number;
  data: Int8Array;
}

export interface Heats {
  /** Grows when maps arrive. */
  arrived: Signal<number>;
  /** How many of the rows that were last asked for are here, and how many were asked for. */
  progress: Signal<{ done: number; of: number }>;
  of(row: number, method: string, target: string, size: number): HeatMap | undefined;
  /** Asks for the maps of these rows that are missing; what was asked before and is not among them is dropped. */
  want(rows: number[], method: string, target: string, size: number): void;
  /** Asks for the maps of some rows that are missing, beside what else was asked for. */
  fetch(rows: number[], method: string, target: string, size: number): Promise<void>;
  stop(): void;
  forget(): void;
}

const PACKET = 8; // rows of one request: the first maps show soon, and a stop is obeyed soon
const MOST = 3000; // maps kept

interface MapsReply {
  height: number;
  width: number;
  signed: boolean;
  rows: number[];
  peaks: number[];
}

const nameOf = (row: number, method: string, target: string, size: number) => `${size} ${method} ${target} ${row}`;

/** Opens a cache of attributions; `name` tells its requests from those of other caches. */
export function openHeats(store: Store, name: string): Heats {
  const kept = new Map<string, HeatMap>();
  const arrived = signal(0);
  const progress = signal({ done: 0, of: 0 });
  let turn = 0;

  async function fetchAll(rows: number[], of: number, method: string, target: string, size: number) {
    const mine = ++turn;
    progress.value = { done: of - rows.length, of };
    for (let place = 0; place < rows.length; place += PACKET) {
      const packet = rows.slice(place, place + PACKET);
      try {
        const fields = { rows: packet, method, target: target === "" ? null : target, size };
        const { ok, buffers } = await store.wire.ask<MapsReply>("maps", fields, name);
        if (mine !== turn) return;
        const data = buffers[0];
        if (data !== undefined) keep(ok, new Int8Array(data.buffer, data.byteOffset, data.byteLength), method, target, size);
        progress.value = { done: Math.min(of, progress.value.done + packet.length), of };
        arrived.value += 1;
      } catch (error) {
        if (mine === turn && !(error instanceof Superseded)) progress.value = { done: 0, of: 0 };
        told(error, store.say);
        return;
      }
    }
  }

  function keep(ok: MapsReply, data: Int8Array, method: string, target: string, size: number) {
    const pixels = ok.height * ok.width;
    for (const [place, row] of ok.rows.entries()) {
      kept.set(nameOf(row, method, target, size), {
        height: ok.height,
        width: ok.width,
        signed: ok.signed,
        peak: ok.peaks[place] ?? 0,
        // A copy: one map kept must not hold the whole packet in memory.
        data: data.slice(place * pixels, (place + 1) * pixels),
      });
    }
    for (const old of [...kept.keys()].slice(0, Math.max(0, kept.size - MOST))) kept.delete(old);
  }

  return {
    arrived,
    progress,
    of: (row, method, target, size) => kept.get(nameOf(row, method, target, size)),
    want(rows, method, target, size) {
      const missing = rows.filter((row) => !kept.has(nameOf(row, method, target, size)));
      if (missing.length === 0) {
        turn += 1;
        progress.value = { done: rows.length, of: rows.length };
        return;
      }
      void fetchAll(missing, rows.length, method, target, size);
    },
    async fetch(rows, method, target, size) {
      const missing = rows.filter((row) => !kept.has(nameOf(row, method, target, size)));
      if (missing.length > 0) await fetchAll(missing, rows.length, method, target, size);
    },
    stop() {
      turn += 1;
      progress.value = { done: 0, of: 0 };
    },
    forget() {
      turn += 1;
      kept.clear();
      arrived.value += 1;
    },
  };
}
