// Small rows of pictures: nearest rows, examples of a preview, fixed and broken rows of a fine-tune.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { captionOf, wordsOf } from "./cells";
import { type Tile, tilesOf } from "./pages";
import type { Store } from "./store";
import { type RowsReply, told } from "./wire";

/** The rows nearest to the one in focus, in the embedding, once somebody wants to see them. */
export function Nearest({ store, row }: { store: Store; row: number }) {
  const open = useSignal(false);
  const rows = useSignal<number[]>([]);
  const embedding = store.about.value.columns.some(({ kind }) => kind === "embedding");
  useEffect(() => {
    if (!open.value || !embedding) return;
    store.wire.ask<{ rows: number[] }>("neighbours", { row, k: 8 }, "neighbours").then(
      ({ ok }) => (rows.value = ok.rows),
      (error: unknown) => told(error, store.say),
    );
  }, [row, open.value, embedding]);
  if (!embedding) return null;
  return (
    <details class="wb-more" onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary>nearest rows</summary>
      <Thumbs store={store} rows={rows.value} name="nearest" />
    </details>
  );
}

/** A line of small pictures; a click brings one into focus. */
export function Thumbs({ store, rows, name }: { store: Store; rows: number[]; name: string }) {
  const tiles = useSignal<Tile[]>([]);
  const { on, size, label, columns } = store.about.value;
  const predicted = columns.filter(({ kind, computed }) => kind === "prediction" && computed).map((column) => column.name);
  const captions = [...(label === null ? [] : [label]), ...predicted.slice(0, 1)];
  useEffect(() => {
    let here = true;
    const cells = [...captions, ...(size === null && on !== null ? [on] : [])];
    const pictures = size !== null && on !== null ? { column: on, size: 96 } : null;
    if (rows.length === 0) tiles.value = [];
    else {
      store.wire.ask<RowsReply>("rows", { rows, pictures, cells }, name).then(
        (reply) => {
          if (here) tiles.value = tilesOf(reply);
        },
        (error: unknown) => told(error, store.say),
      );
    }
    return () => {
      here = false;
    };
  }, [rows.join(), on, name]);
  return (
    <ul class="wb-thumbs" data-testid={`thumbs-${name}`}>
      {tiles.value.map((tile) => {
        const caption = captionOf(tile.cells, captions);
        const text = on === null ? undefined : tile.cells[on];
        return (
          <li key={tile.row}>
            <button type="button" class="wb-thumb" title={`row ${tile.row}, ${caption.words}`} onClick={() => store.focus.put(tile.row)} data-row={tile.row}>
              {tile.url !== null ? <img src={tile.url} alt="" /> : <span class="wb-thumb-text">{wordsOf(text).slice(0, 40)}</span>}
              <span class={caption.wrong ? "wb-wrong" : ""}>{caption.short}</span>
            </button>
          </li>
        );
      })}
    </ul>
  );
}
