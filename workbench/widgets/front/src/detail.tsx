// Detail: the row in focus, large: its picture with the brush, its predictions, its maps, what was said of it.

import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { HeatLayer } from "./card";
import { CellView, captionOf, wordsOf } from "./cells";
import { type Heats, openHeats } from "./heat";
import type { Desk, Looked } from "./marks";
import { clock } from "./marks";
import { Nearest } from "./nearest";
import { Reach } from "./reach";
import { visible } from "./spans";
import { SpanStage } from "./spanstage";
import { Stage } from "./stage";
import type { Store } from "./store";
import { Toolbar } from "./toolbar";
import type { Cell } from "./wire";

const WIDEST = 316; // pixels of a picture as it is shown at first
const EDGES = 26; // pixels around it
const FULL = 256; // cells of a map beside the picture, at most

/** Everything about the row in focus. */
export function Detail({ store, desk }: { store: Store; desk: Desk }) {
  const heats = useMemo(() => openHeats(store, "detail"), [store]);
  useSignalEffect(() => {
    const row = store.focus.value;
    void store.about.value.data;
    if (row !== null) void desk.look(row);
  });
  const looked = desk.looked.value;
  if (store.focus.value === null || looked === null) {
    return (
      <section class="wb-detail wb-detail-empty" aria-label="Row in focus">
        <p class="wb-hint">Click a row to look at it closely{store.about.value.can.annotate ? ", and to paint on it" : ""}.</p>
      </section>
    );
  }
  return <Row store={store} desk={desk} heats={heats} looked={looked} />;
}

function Row({ store, desk, heats, looked }: { store: Store; desk: Desk; heats: Heats; looked: Looked }) {
  const { method, target } = store.layout.value;
  const { can, label, columns, classes } = store.about.value;
  const others = useSignal<string[]>([]);
  const zoom = useSignal(0);
  const room = useRoom();
  const { row, size } = looked;
  const explain = can.explain && size !== null;
  const methods = explain && method !== "" ? [...new Set([method, ...others.value])] : [];
  useEffect(() => {
    // Signals first: the map of the picture itself, then what stands beside it.
    let go = true;
    void (async () => {
      for (const each of methods) if (go) await heats.fetch([row], each, target, FULL);
    })();
    return () => {
      go = false;
    };
  }, [row, methods.join(), target, store.about.value.data]);
  void heats.arrived.value;
  const captions = [...(label === null ? [] : [label]), ...columns.filter(({ kind }) => kind === "prediction").map(({ name }) => name)];
  const caption = captionOf(looked.cells, captions);
  const scale = zoom.value > 0 ? zoom.value : size === null ? 1 : fitting(size, room.width);
  const prediction = columns.find(({ kind }) => kind === "prediction")?.name;
  return (
    <section ref={room.box} class="wb-detail" aria-label={`Row ${row}`} data-testid="detail" data-row={row}>
      <h3 class="wb-detail-title" title={visible(looked.key)}>
        row {row.toLocaleString("en")} <span class={caption.wrong ? "wb-wrong" : ""}>{caption.words}</span>
      </h3>
      {size !== null && looked.picture !== null && desk.marks.value !== null ? (
        <>
          <Stage
            key={row} // a stroke that is being drawn ends where its row does
            store={store}
            picture={looked.picture}
            size={size}
            marks={desk.marks as never}
            heat={explain && store.layout.value.overlay ? heats.of(row, method, target, FULL) : undefined}
            zoom={scale}
            painted={(marks) => desk.save(marks)}
          />
          <Toolbar store={store} desk={desk} zoom={scale} setZoom={(to) => (zoom.value = to)} />
        </>
      ) : looked.text !== null ? (
        <SpanStage key={row} store={store} desk={desk} text={looked.text} length={looked.length} />
      ) : (
        <p class="wb-empty">This row has nothing to show: it is null, or its file cannot be read.</p>
      )}
      {can.annotate && <Reach store={store} desk={desk} />}
      {explain && methods.length > 0 && (
        <div class="wb-maps" aria-label="Attributions side by side">
          {methods.map((each) => {
            const heat = heats.of(row, each, target, FULL);
            return (
              <figure key={each} class="wb-map-figure">
                <div class="wb-map-box">
                  {heat === undefined ? <span class="wb-waiting-box" /> : <HeatLayer heat={heat} opacity={1} />}
                </div>
                <figcaption title={heat === undefined ? "" : `largest magnitude ${heat.peak.toPrecision(3)}`}>{each.replaceAll("_", " ")}</figcaption>
              </figure>
            );
          })}
          <label class="wb-add">
            <span class="wb-hidden">Add a method</span>
            <select
              value=""
              onChange={(event) => {
                const chosen = event.currentTarget.value;
                if (chosen !== "") others.value = [...others.value, chosen].slice(-3);
                event.currentTarget.value = "";
              }}
            >
              <option value="">+ method</option>
              {store.about.value.methods.filter((each) => !methods.includes(each)).map((each) => <option key={each} value={each}>{each.replaceAll("_", " ")}</option>)}
            </select>
          </label>
        </div>
      )}
      {prediction !== undefined && <CellView cell={looked.cells[prediction]} />}
      {can.annotate && (
        <div class="wb-verdict" role="group" aria-label="What you say of this row">
          {label !== null && classes.length > 0 && (
            <label>
              <span>label</span>
              <select
                value={named(looked.cells[label])}
                onChange={(event) => void desk.act("correct", { row, label: event.currentTarget.value })}
                data-testid="label"
              >
                {[...new Set([named(looked.cells[label]), ...classes])].map((name) => <option key={name} value={name}>{visible(name)}</option>)}
              </select>
            </label>
          )}
          <label>
            <span>verdict</span>
            <select value="" onChange={(event) => event.currentTarget.value !== "" && void desk.act("judge", { row, verdict: event.currentTarget.value })} data-testid="verdict">
              <option value="">choose …</option>
              {["right for the right reason", "right for the wrong reason", "wrong"].map((verdict) => <option key={verdict}>{verdict}</option>)}
            </select>
          </label>
        </div>
      )}
      <Nearest store={store} row={row} />
      <details class="wb-more">
        <summary>all columns</summary>
        <dl>
          {Object.entries(looked.cells).map(([name, cell]) => (
            <div key={name} class="wb-pair">
              <dt>{visible(name)}</dt>
              <dd><bdi>{wordsOf(cell)}</bdi></dd>
            </div>
          ))}
        </dl>
      </details>
      {looked.history.length > 0 && (
        <details class="wb-more" data-testid="history">
          <summary>said of this row: {looked.history.length}</summary>
          <ol class="wb-history">
            {[...looked.history].reverse().map((record) => (
              <li key={record.id} class={record.undone ? "wb-undone" : ""}>
                <bdi>{visible(record.words)}</bdi>{" "}
                <small>{visible(record.author)}, {record.how}, {clock(record.time)}{record.undone ? ", taken back" : ""}</small>
              </li>
            ))}
          </ol>
        </details>
      )}
    </section>
  );
}

/** A label as classes are named; what is too long to be one is only shown. */
function named(cell: Cell | undefined): string {
  return typeof cell === "object" ? (cell === null ? "" : wordsOf(cell)) : String(cell ?? "");
}

/** The zoom at which a picture fills the space that there is for it; small pictures by a whole factor. */
function fitting([height, width]: [number, number], room: number): number {
  const most = room / Math.max(height, width);
  return most >= 2 ? Math.floor(most) : most;
}

/** How wide a picture may be beside the rows, or beneath them. */
function useRoom() {
  const box = useRef<HTMLElement>(null);
  const width = useSignal(WIDEST);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const watch = new ResizeObserver(() => (width.value = Math.max(120, Math.min(WIDEST, element.clientWidth - EDGES))));
    watch.observe(element);
    return () => watch.disconnect();
  }, []);
  return { box, width: width.value };
}
