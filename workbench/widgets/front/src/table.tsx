// Table: the rows shown, a line each, with cells by kind; columns can be sorted by, made wider, and hidden.

import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { CellView } from "./cells";
import { choose, steer } from "./choosing";
import { useFocusPlace } from "./focusing";
import { openPages } from "./pages";
import { useScroller } from "./scroller";
import { visible } from "./spans";
import type { ColumnAbout, Store } from "./store";

const LINE = 44; // pixels of a line
const HEAD = 30;
const WIDTHS: Record<string, number> = { scalar: 110, text: 260, image: 64, prediction: 190, embedding: 130, tensor: 130, mask: 64 };
const NARROWEST = 48;

/** A table of any length: only the lines on the screen are there. */
export function Table({ store }: { store: Store }) {
  const pages = useMemo(() => openPages(store, "table"), [store]);
  const scroller = useScroller({ width: 0, height: HEAD });
  const widths = useSignal<Record<string, number>>({});
  useEffect(() => () => pages.close(), [pages]);

  const { columns, on, size, data } = store.about.value;
  const chosen = store.layout.value.columns;
  const shown = columns.filter(({ name }) => chosen.length === 0 || chosen.includes(name));
  const pictured = size !== null ? on : null;
  const cells = shown.filter(({ name, kind }) => name !== pictured && kind !== "image").map(({ name }) => name);
  const { count, version } = store.shown.value;
  useMemo(
    () => pages.reset(version, { pictures: pictured === null ? null : { column: pictured, size: 2 * LINE }, cells }),
    [pages, version, cells.join("\n"), pictured, data],
  );
  const view = scroller.lines(count, LINE);
  useEffect(() => {
    if (view.last >= view.first) pages.want(view.first, view.last);
  });
  void pages.arrived.value;
  const widthOf = ({ name, kind }: ColumnAbout) => widths.value[name] ?? WIDTHS[kind] ?? 130;
  // The last one takes what is left of the line.
  const template = shown.map((column, at) => (at < shown.length - 1 ? `${widthOf(column)}px` : `minmax(${widthOf(column)}px, 1fr)`)).join(" ");
  const focusPlace = useFocusPlace(store, pages, (place) => scroller.show(place));
  const drawn = focusPlace !== undefined && focusPlace >= view.first && focusPlace <= view.last;

  const lines = [];
  for (let place = view.first; place <= view.last; place++) {
    const tile = pages.at(place);
    const selected = tile !== undefined && store.selected.value.has(tile.row);
    const focused = tile !== undefined && store.focus.value === tile.row;
    lines.push(
      <div
        key={place}
        id={`${store.name}-line-${place}`}
        class={`wb-line${selected ? " wb-selected" : ""}${focused ? " wb-focused" : ""}`}
        style={{ top: `${HEAD + view.offset + (place - view.first) * LINE}px`, gridTemplateColumns: template, height: `${LINE}px` }}
        role="row"
        aria-rowindex={place + 2}
        aria-selected={selected}
        data-testid={`line-${place}`}
        data-row={tile?.row}
        onClick={(event) => choose(event, store, pages, place)}
      >
        {shown.map(({ name, kind }) => (
          <div key={name} class="wb-table-cell" role="gridcell">
            {tile === undefined ? null : name === pictured ? (
              tile.url !== null && <img src={tile.url} alt="" class={`wb-line-picture wb-mark-edge-${tile.mark}`} />
            ) : kind === "image" ? null : (
              <CellView cell={tile.cells[name]} />
            )}
          </div>
        ))}
      </div>,
    );
  }
  return (
    <div
      ref={scroller.box}
      class="wb-table"
      data-testid="table"
      role="grid"
      aria-label={`Table of ${count.toLocaleString("en")} rows`}
      aria-rowcount={count + 1}
      aria-multiselectable="true"
      aria-activedescendant={drawn ? `${store.name}-line-${focusPlace}` : undefined}
      tabIndex={0}
      onScroll={() => scroller.onScroll()}
      onKeyDown={(event) => steer(event, store, pages, { across: 1, screen: Math.floor(scroller.size.height / LINE) }, (place) => scroller.show(place))}
    >
      <div class="wb-table-lines" role="rowgroup" style={{ height: `${view.total + HEAD}px` }}>
        <div class="wb-table-head" role="row" style={{ gridTemplateColumns: template }}>
          {shown.map((column) => (
            <Head key={column.name} store={store} column={column} width={widthOf(column)} resize={(to) => (widths.value = { ...widths.value, [column.name]: to })} />
          ))}
        </div>
        {lines}
      </div>
    </div>
  );
}

function Head({ store, column, width, resize }: { store: Store; column: ColumnAbout; width: number; resize: (to: number) => void }) {
  const { sort } = store.layout.value;
  const sortable = column.kind === "scalar" || column.kind === "text" || column.kind === "prediction";
  const mine = sort?.by === column.name ? sort : null;
  function next() {
    // As in other tables: up, down, and the order of the panel again.
    store.setLayout({ sort: mine === null ? { by: column.name, ascending: true } : mine.ascending ? { by: column.name, ascending: false } : null });
  }
  return (
    <div class="wb-table-cell wb-table-title" role="columnheader" aria-sort={mine === null ? "none" : mine.ascending ? "ascending" : "descending"}>
      {sortable ? (
        <button type="button" class="wb-quiet" onClick={next} title={`${visible(column.name)}, ${column.kind}; sort`} data-testid={`head-${column.name}`}>
          <bdi>{visible(column.name)}</bdi>{mine === null ? "" : mine.ascending ? " ↑" : " ↓"}
        </button>
      ) : (
        <bdi title={column.kind}>{visible(column.name)}</bdi>
      )}
      <span
        class="wb-grip"
        role="slider"
        tabIndex={0}
        aria-label={`width of ${visible(column.name)}`}
        aria-valuenow={width}
        aria-valuemin={NARROWEST}
        aria-valuemax={800}
        onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
        onPointerMove={(event) => event.buttons === 1 && resize(Math.max(NARROWEST, width + event.movementX))}
        onKeyDown={(event) => {
          const step = { ArrowLeft: -10, ArrowRight: 10 }[event.key];
          if (step === undefined) return;
          event.preventDefault();
          event.stopPropagation();
          resize(Math.max(NARROWEST, Math.min(800, width + step)));
        }}
      />
    </div>
  );
}
