// Gallery: thumbnails of the rows shown, in a grid of any length; what is on the screen is asked for first.

import { useSignalEffect } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { Card } from "./card";
import { captionOf } from "./cells";
import { choose, steer } from "./choosing";
import { useFocusPlace } from "./focusing";
import { type Heats, openHeats } from "./heat";
import { openPages } from "./pages";
import { useScroller } from "./scroller";
import type { Store } from "./store";

const GAP = 8;
const PADDING = { width: 20, height: 16 }; // as the style sheet has it, both sides
const CAPTION = 18; // pixels of the line beneath a picture
const WIDER = 1.4; // times its own width a card may become
const ROOMY = 144; // pixels of a card from which the number fits into its caption
const OVERLAY = 64; // cells of a map in a thumbnail, at most

/** The grid of rows; with the overlay on, each with what the model looked at. */
export function Gallery({ store }: { store: Store }) {
  const pages = useMemo(() => openPages(store, "gallery"), [store]);
  const heats = useMemo(() => openHeats(store, "overlay"), [store]);
  const scroller = useScroller(PADDING);
  useEffect(() => () => (pages.close(), heats.stop()), [pages, heats]);

  const { tile, overlay, method, target, opacity } = store.layout.value;
  const texts = store.about.value.size === null;
  const least = texts ? Math.max(tile * 2.2, 200) : tile;
  const across = Math.max(1, Math.floor((scroller.size.width + GAP) / (least + GAP)));
  // The cards fill the line: each gets its part of what is left over.
  const width = Math.max(least, Math.min(Math.round(WIDER * least), Math.floor((scroller.size.width + GAP) / across) - GAP));
  const cell = { width, height: texts ? tile : width };
  const lineHeight = cell.height + CAPTION + GAP;
  const { count, version } = store.shown.value;
  const lineCount = Math.ceil(count / across);
  const view = scroller.lines(lineCount, lineHeight, across);

  const { on, data } = store.about.value;
  const captions = captionColumns(store);
  const wish = { pictures: !texts && on !== null ? { column: on, size: Math.min(256, 2 * tile) } : null, cells: captions };
  useMemo(() => pages.reset(version, wish), [pages, version, captions.join("\n"), wish.pictures?.column, wish.pictures?.size, data]);
  useMemo(() => heats.forget(), [heats, data]);

  const first = view.first * across;
  const last = Math.min(count, (view.last + 1) * across) - 1;
  useEffect(() => {
    if (last < first) return;
    // The lines above and below the window only when it is full.
    const top = view.first > 0 ? first + across : first;
    const end = view.last < lineCount - 1 ? last - across : last;
    if (end < top || !pages.want(top, end)) pages.want(first, last);
  });
  const arrived = pages.arrived.value;
  useEffect(() => {
    if (!overlay || method === "") return heats.stop();
    const rows = [];
    for (let place = first; place <= last; place++) {
      const here = pages.at(place);
      if (here !== undefined) rows.push(here.row);
    }
    heats.want(rows, method, target, OVERLAY);
  }, [overlay, method, target, first, last, arrived, data]);
  void heats.arrived.value;
  useSignalEffect(() => {
    if (store.marked.value > 0) pages.refresh();
  });
  const show = (place: number) => scroller.show(Math.floor(place / across));
  const focusPlace = useFocusPlace(store, pages, show);
  const drawn = focusPlace !== undefined && focusPlace >= first && focusPlace <= last;

  const cards = [];
  for (let place = first; place <= last; place++) {
    const here = pages.at(place);
    const style = {
      left: `${(place % across) * (cell.width + GAP)}px`,
      top: `${view.offset + (Math.floor(place / across) - view.first) * lineHeight}px`,
      width: `${cell.width}px`,
      height: `${cell.height + CAPTION}px`,
    };
    cards.push(
      <Card
        key={place}
        id={`${store.name}-card-${place}`}
        place={place}
        of={count}
        tile={here}
        caption={here === undefined ? "" : captionOf(here.cells, captions)}
        text={texts && on !== null ? here?.cells[on] : undefined}
        style={style}
        height={cell.height}
        roomy={cell.width >= ROOMY}
        selected={here !== undefined && store.selected.value.has(here.row)}
        focused={here !== undefined && store.focus.value === here.row}
        heat={overlay && here !== undefined ? heats.of(here.row, method, target, OVERLAY) : undefined}
        opacity={opacity}
        choose={(event) => choose(event, store, pages, place)}
      />,
    );
  }
  return (
    <>
    <div
      ref={scroller.box}
      class="wb-gallery"
      data-testid="gallery"
      data-version={version}
      role="listbox"
      aria-multiselectable="true"
      aria-label={`Gallery of ${count.toLocaleString("en")} rows`}
      aria-activedescendant={drawn ? `${store.name}-card-${focusPlace}` : undefined}
      tabIndex={0}
      onScroll={() => scroller.onScroll()}
      onKeyDown={(event) => steer(event, store, pages, { across, screen: Math.floor(scroller.size.height / lineHeight) }, show)}
    >
      <div class="wb-gallery-lines" role="presentation" style={{ height: `${view.total}px` }}>
        {cards}
      </div>
    </div>
    {count === 0 && <p class="wb-empty wb-no-rows" role="status">No row is like this. Loosen the filter, or clear the facets.</p>}
    <OverlayProgress heats={heats} on={overlay} />
    </>
  );
}

/** How far the maps of the screen are; nothing where none are asked for. */
function OverlayProgress({ heats, on }: { heats: Heats; on: boolean }) {
  const { done, of } = heats.progress.value;
  if (!on || of === 0 || done >= of) return null;
  return (
    <p class="wb-gallery-progress" role="status">
      attribution {done} of {of}
      <button type="button" class="wb-quiet" onClick={() => heats.stop()}>
        stop
      </button>
    </p>
  );
}

/** The columns whose values stand beneath a picture: the label, what was predicted, and how surely. */
function captionColumns(store: Store): string[] {
  const { label, columns, on, size } = store.about.value;
  const predicted = columns.filter((column) => column.kind === "prediction" && column.computed).map(({ name }) => name);
  const text = size === null && on !== null ? [on] : [];
  return [...(label === null ? [] : [label]), ...predicted.slice(0, 1), ...text];
}
