// Slices: rows under a name, how many they are, and how the model does on them.

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { visible } from "./spans";
import { type SliceRow, type Store, asRows } from "./store";

/** The slices there are, and how to make one of the selection or of what is shown. */
export function SlicesMenu({ store }: { store: Store }) {
  const name = useSignal("");
  const field = useRef<HTMLInputElement>(null);
  const selected = store.selection.value.length;
  const { count, of } = store.shown.value;
  const make = (what: "selection" | "filter") =>
    store.attempt(async () => {
      await store.wire.ask("slice", { name: name.value.trim(), of: what });
      name.value = "";
      field.current?.focus(); // the button that was pressed can no longer be
    });
  return (
    <div class="wb-slices">
      {store.slices.value.length === 0 ? (
        <p class="wb-small">No slice yet. Narrow the rows by the filter or a facet, or select some, and give them a name.</p>
      ) : (
        <table>
          <thead><tr><th scope="col">slice</th><th scope="col" class="wb-end">rows</th><th scope="col" class="wb-end">accuracy</th><th /></tr></thead>
          <tbody>{store.slices.value.map((slice) => <SliceLine key={slice.name} store={store} slice={slice} />)}</tbody>
        </table>
      )}
      <form class="wb-slice-form" onSubmit={(event) => (event.preventDefault(), make(selected > 0 ? "selection" : "filter"))}>
        <input ref={field} value={name.value} placeholder="name of a new slice" aria-label="name of a new slice" maxLength={200} data-testid="slice-name" onInput={(event) => (name.value = event.currentTarget.value)} />
        <button type="button" disabled={name.value.trim() === "" || selected === 0} onClick={() => make("selection")} data-testid="slice-selection">
          of the {selected.toLocaleString("en")} selected
        </button>
        <button type="button" disabled={name.value.trim() === "" || count === of} onClick={() => make("filter")} data-testid="slice-filter">
          of the {count.toLocaleString("en")} shown
        </button>
      </form>
    </div>
  );
}

function SliceLine({ store, slice }: { store: Store; slice: SliceRow }) {
  const accuracy =
    slice.accuracy === null ? "–" : `${percent(slice.accuracy)}${slice.low === null || slice.high === null ? "" : ` (${percent(slice.low)} … ${percent(slice.high)})`}`;
  return (
    <tr>
      <td>
        <button type="button" class="wb-quiet" title={visible(slice.where ?? "chosen by hand")} onClick={() => show(store, slice.name)}>
          <bdi>{visible(slice.name)}</bdi>
        </button>
      </td>
      <td class="wb-end">{slice.size.toLocaleString("en")}</td>
      <td class="wb-end">{accuracy}</td>
      <td>
        <button type="button" class="wb-quiet" onClick={() => store.attempt(() => store.wire.ask("unslice", { name: slice.name }))}>
          forget<span class="wb-hidden"> {visible(slice.name)}</span>
        </button>
      </td>
    </tr>
  );
}

/** Shows the rows of a slice: its condition in the filter line, or, where it has none, its rows as the selection. */
function show(store: Store, name: string) {
  store.attempt(async () => {
    const { ok, buffers } = await store.wire.ask<{ where: string | null }>("show_slice", { name });
    if (ok.where !== null) {
      store.brushes.put({});
      store.filter.put(ok.where);
    } else store.selection.put(asRows(buffers[0]));
  });
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}
