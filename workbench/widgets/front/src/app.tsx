// The whole view: header, facets, the rows, the row in focus, foot; and what the keys do.

import { useEffect, useMemo, useRef } from "preact/hooks";
import { toggle } from "./choosing";
import { Detail } from "./detail";
import { Facets } from "./facets";
import { flip } from "./flip";
import { Foot } from "./foot";
import { Gallery } from "./gallery";
import { Header, hasMap } from "./header";
import { commandOf } from "./keys";
import { MapView } from "./map";
import { type Desk, openDesk } from "./marks";
import { visible } from "./spans";
import type { Store, Tool } from "./store";
import { Table } from "./table";

const TOOLS: Record<string, Tool> = { brush: "brush", erase: "erase", rectangle: "rectangle", lasso: "lasso", fill: "fill" };

const TINY = 96; // pixels of a side up to which pictures are shown pixel by pixel

/** One view of a panel. */
export function App({ store }: { store: Store }) {
  const root = useRef<HTMLDivElement>(null);
  const desk = useMemo(() => openDesk(store), [store]);
  useEffect(
    () =>
      store.wire.on<{ by: number | null }>("saved", ({ by }) => {
        if (store.wire.asked(by)) return; // what was written here is shown already
        store.marked.value += 1;
        void desk.again();
      }),
    [store, desk],
  );
  const { view, height } = store.layout.value;
  return (
    <div
      ref={root}
      class={`wb-app wb-view-${view}${store.about.value.size?.every((side) => side <= TINY) ? " wb-tiny" : ""}`}
      style={{ "--wb-height": `${height}px` }}
      data-testid="app"
      data-ready="1"
      // JupyterLab listens before the page does: a bare letter would cut or move its cells.
      data-lm-suppress-shortcuts="true"
      tabIndex={-1}
      onKeyDown={(event) => keys(event, store, desk, root.current)}
      onClick={(event) => keepFocus(root.current, event.target)}
    >
      <div class="wb-grid">
      <Header store={store} />
      <Facets store={store} />
      <div class="wb-main" id={`${store.name}-view`} role="tabpanel" aria-labelledby={`${store.name}-tab-${view}`}>
        <ViewBar store={store} />
        {view === "table" ? <Table store={store} /> : view === "map" && hasMap(store) ? <MapView store={store} /> : <Gallery store={store} />}
      </div>
      <Detail store={store} desk={desk} />
      <Foot store={store} desk={desk} />
      </div>
    </div>
  );
}

/** What is adjusted in the view itself: size of the pictures, overlay, order. */
function ViewBar({ store }: { store: Store }) {
  const { view, tile, overlay, method, target, sort } = store.layout.value;
  const { can, methods, classes, columns } = store.about.value;
  const sortable = columns.filter(({ kind }) => kind === "scalar" || kind === "text" || kind === "prediction");
  return (
    <div class="wb-viewbar" role="toolbar" aria-label="View">
      {view === "gallery" && (
        <label>
          <span class="wb-small">size</span>
          <input type="range" min="48" max="320" step="8" value={tile} aria-label="size of the pictures" onInput={(event) => store.setLayout({ tile: Number(event.currentTarget.value) })} />
        </label>
      )}
      {can.explain && (
        <label title="attribution over the pictures (o)">
          <input type="checkbox" checked={overlay} data-testid="overlay" onChange={(event) => store.setLayout({ overlay: event.currentTarget.checked })} /> attribution
        </label>
      )}
      {can.explain && (
        <select value={method} aria-label="method of attribution" data-testid="method" onChange={(event) => store.setLayout({ method: event.currentTarget.value })}>
          {methods.map((each) => <option key={each} value={each}>{each.replaceAll("_", " ")}</option>)}
        </select>
      )}
      {can.explain && (
        <select value={target} aria-label="what is explained" data-testid="target" onChange={(event) => store.setLayout({ target: event.currentTarget.value })}>
          <option value="">predicted class</option>
          {classes.map((each) => <option key={each} value={each}>{visible(each)}</option>)}
        </select>
      )}
      {view !== "map" && (
        <label>
          <span class="wb-small">order</span>{" "}
          <select
            value={sort === null ? "" : `${sort.ascending ? "+" : "-"}${sort.by}`}
            data-testid="sort"
            onChange={(event) => {
              const chosen = event.currentTarget.value;
              store.setLayout({ sort: chosen === "" ? null : { by: chosen.slice(1), ascending: chosen.startsWith("+") } });
            }}
          >
            <option value="">of the panel</option>
            {sortable.flatMap(({ name }) => [
              <option key={`+${name}`} value={`+${name}`}>{visible(name)} ↑</option>,
              <option key={`-${name}`} value={`-${name}`}>{visible(name)} ↓</option>,
            ])}
          </select>
        </label>
      )}
    </div>
  );
}

/** Brings the next row into focus, or the one before; of those without marks, if that is wished for. */
function go(store: Store, by: "next" | "previous", unmarked = false) {
  store.attempt(async () => {
    const { ok } = await store.wire.ask<{ row: number | null }>("go", { row: store.focus.value, by, unmarked }, "go");
    if (ok.row !== null) store.focus.put(ok.row);
    else if (unmarked) store.say(`Every row ${by === "next" ? "after" : "before"} this one has marks.`);
  });
}

/** A button that goes away when it is pressed must not take the keys with it. */
function keepFocus(root: HTMLElement | null, pressed: EventTarget | null) {
  const look = () => {
    const gone = pressed instanceof Element && (!pressed.isConnected || pressed.matches(":disabled"));
    const { activeElement } = (root?.getRootNode() ?? document) as Document | ShadowRoot;
    if (gone && (activeElement === null || activeElement === document.body || activeElement === pressed)) root?.focus({ preventScroll: true });
  };
  for (const wait of [0, 400]) setTimeout(look, wait);
}

/** Obeys the keys, and keeps them from the notebook around, where a bare letter may cut a cell. */
function keys(event: KeyboardEvent, store: Store, desk: Desk, root: HTMLElement | null) {
  const bare = !event.ctrlKey && !event.metaKey && !event.altKey;
  const target = event.target as Element | null;
  const rows = target?.closest(".wb-main, .wb-facets") ? commandOf(event, "rows") : null;
  // One row is open beside the others: its tools are at hand everywhere.
  const command = rows ?? (store.focus.value === null ? commandOf(event, "rows") : commandOf(event, "detail"));
  if (bare || command !== null) event.stopPropagation();
  if (command === null || event.defaultPrevented) return;
  // What is open above the rows has keys of its own.
  if (target?.closest(".wb-popup") && command !== "close" && command !== "help") return;
  const { layout, about } = store;
  const obey: Record<string, () => void> = {
    overlay: () => store.setLayout({ overlay: !layout.value.overlay }),
    irrelevant: () => (store.role.value = "irrelevant"),
    relevant: () => (store.role.value = "relevant"),
    smaller: () => (store.brush.value = Math.max(0.5, store.brush.value - 0.5)),
    larger: () => (store.brush.value = Math.min(40, store.brush.value + 0.5)),
    undo: () => about.value.can.annotate && void desk.act("undo"),
    redo: () => about.value.can.annotate && void desk.act("redo"),
    invert: () => flip(store, desk, "invert"),
    clear: () => flip(store, desk, "clear"),
    spread: () => root?.querySelector<HTMLButtonElement>("[data-testid=reach]")?.click(),
    gallery: () => store.setLayout({ view: "gallery" }),
    table: () => store.setLayout({ view: "table" }),
    map: () => hasMap(store) && store.setLayout({ view: "map" }),
    filter: () => root?.querySelector<HTMLInputElement>("[data-testid=filter]")?.focus(),
    next: () => go(store, "next"),
    below: () => go(store, "next"),
    previous: () => go(store, "previous"),
    above: () => go(store, "previous"),
    "next-unmarked": () => go(store, "next", true),
    "previous-unmarked": () => go(store, "previous", true),
    select: () => store.focus.value !== null && toggle(store, store.focus.value),
    help: () => (store.open.value = store.open.value === "help" ? "" : "help"),
    close: () => {
      if (store.open.value !== "") store.open.value = "";
      else if (store.selection.value.length > 0) store.selection.put(new Uint32Array());
    },
    open: () => root?.querySelector<HTMLElement>("[data-testid=stage]")?.focus(),
    "zoom-in": () => root?.querySelector<HTMLButtonElement>("[title='larger (+)']")?.click(),
    "zoom-out": () => root?.querySelector<HTMLButtonElement>("[title='smaller (-)']")?.click(),
    "zoom-reset": () => root?.querySelector<HTMLButtonElement>("[title='as large as fits (0)']")?.click(),
  };
  for (const [name, tool] of Object.entries(TOOLS)) obey[name] = () => (store.tool.value = tool);
  const work = obey[command];
  if (work !== undefined) {
    event.preventDefault();
    work();
  }
}
