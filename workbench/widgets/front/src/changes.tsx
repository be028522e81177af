// Changes: where the old and the new model of a run look in the row in focus, and the difference of the two.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { HeatLayer } from "./card";
import type { HeatMap } from "./heat";
import type { Store } from "./store";
import { told } from "./wire";

const SIDES = ["before", "after", "difference"] as const;
const SIZE = 128; // cells of a map, at most

interface MapsReply {
  height: number;
  width: number;
  signed: boolean;
  peaks: number[];
}

/** Three maps of one row, side by side. */
export function Changes({ store, job }: { store: Store; job: number }) {
  const maps = useSignal<Partial<Record<(typeof SIDES)[number], HeatMap>>>({});
  const row = store.focus.value;
  const { method } = store.layout.value;
  useEffect(() => {
    maps.value = {};
    if (row === null || method === "" || !store.about.value.can.explain) return;
    let here = true;
    void (async () => {
      for (const which of SIDES) {
        try {
          const { ok, buffers } = await store.wire.ask<MapsReply>("maps", { rows: [row], method, size: SIZE, job, which }, `change ${which}`);
          const data = buffers[0];
          if (!here || data === undefined) return;
          const heat = { ...ok, peak: ok.peaks[0] ?? 0, data: new Int8Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)) };
          maps.value = { ...maps.value, [which]: heat };
        } catch (error) {
          told(error, store.say);
          return;
        }
      }
    })();
    return () => {
      here = false;
    };
  }, [row, method, job]);
  if (row === null) return <p class="wb-small">Click a row to see where the two models look.</p>;
  return (
    <div class="wb-maps" data-testid="changes">
      {SIDES.map((which) => {
        const heat = maps.value[which];
        return (
          <figure key={which} class="wb-map-figure">
            <div class="wb-map-box">{heat === undefined ? <span class="wb-waiting-box" /> : <HeatLayer heat={heat} opacity={1} />}</div>
            <figcaption>{which === "difference" ? "difference" : `looks ${which}`}</figcaption>
          </figure>
        );
      })}
      <span class="wb-small">row {row.toLocaleString("en")}, {method.replaceAll("_", " ")}</span>
    </div>
  );
}
