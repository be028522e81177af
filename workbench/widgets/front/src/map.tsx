// Map: every row a point, by an embedding; colour by any column, pan, zoom, and a lasso that selects.

import { useSignal, useSignalEffect } from "@preact/signals";
import KDBush from "kdbush";
import { useEffect, useRef } from "preact/hooks";
import createScatterplot from "regl-scatterplot";
import { numberWords } from "./cells";
import { BACKGROUND, CATEGORIES, NOTHING, type Theme, category, hex, parsed, ramp } from "./colours";
import { type Join, Lasso, type Spot, joined, within } from "./lasso";
import { visible } from "./spans";
import type { Store } from "./store";
import { backgroundOf, useTheme } from "./theme";
import { told } from "./wire";

interface ScatterReply {
  count: number;
  colours: { kind: "categories" | "numbers"; labels: string[] | null; low: number | null; high: number | null } | null;
}

type Plot = ReturnType<typeof createScatterplot>;

/** The points that are drawn, and which of them are in sight; null is all. */
interface Cloud {
  x: Float32Array;
  y: Float32Array;
  left: Uint8Array | null;
}

const EMPTY: Cloud = { x: new Float32Array(), y: new Float32Array(), left: null };

const NULL_CODE = 255;
const STEPS = 32; // of a colour scale of numbers
const NO_KEYS: object = { actionKeyMap: {} }; // no lasso and no turning of the plot's own; its types do not know the name
const KEYS = "map: plus, minus and 0 zoom, Shift with an arrow moves; with the lasso on, arrows go, Space sets a corner, Enter selects";
const PANS: Record<string, Spot> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const ZOOMS: Record<string, number> = { "+": 0.8, "=": 0.8, "-": 1.25 };
const PAN = 0.4; // a fifth of the height that is seen
const MANY = 100_000; // points that take long to sort, and to draw where there is no GPU
const AWAY_MS = 100; // in which as many row numbers leave for the kernel

/** The points of all rows; those that the filter leaves are seen. */
export function MapView({ store }: { store: Store }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const cloud = useRef<Cloud>(EMPTY);
  const legend = useSignal<ScatterReply["colours"]>(null);
  const drawn = useSignal(0);
  const waiting = useSignal(true);
  const lasso = useSignal(false);
  const theme = useTheme(box);
  const { columns, data } = store.about.value;
  const embeddings = columns.filter(({ kind }) => kind === "embedding");
  const by = store.layout.value.map ?? embeddings[0]?.name ?? null;
  const colour = store.layout.value.colour;

  const placed = by !== null && (columns.find(({ name }) => name === by)?.computed ?? false);
  // Before the plot is made, which takes a while: the kernel works meanwhile.
  useEffect(() => {
    if (by === null || !placed) return;
    let here = true;
    waiting.value = true;
    const begun = performance.now();
    store.wire.ask<ScatterReply>("scatter", { by, colour }, "scatter").then(
      async ({ ok, buffers }) => {
        const [points, codes] = buffers;
        if (!here || plot.current === null || points === undefined || codes === undefined) return;
        legend.value = ok.colours;
        const { x, y, z } = split(points, codes, ok);
        cloud.current = { x, y, left: null };
        // First how, then what: each `set` after it would draw all points again.
        paint(plot.current, ok.colours, theme.peek());
        size(store, plot.current);
        const index = new KDBush(x.length, x.length < MANY ? 64 : 8192, Float32Array); // coarse where sorting takes long
        await plot.current.draw({ x, y, z }, { preventFilterReset: false, spatialIndex: index.data as ArrayBuffer });
        waiting.value = false;
        drawn.value = Math.round(performance.now() - begun);
        filter(store, plot.current, cloud.current);
        mark(plot.current, store.selection.peek());
        // What finds the point under the mouse. The plot, which shares its memory, draws without it; and its own would
        // go to a worker, which takes longer to reach than this does to sort.
        setTimeout(() => {
          for (let row = 0; row < x.length; row++) index.add(x[row] as number, y[row] as number);
          index.finish();
        });
      },
      (error: unknown) => {
        waiting.value = false;
        told(error, store.say);
      },
    );
    return () => {
      here = false;
    };
  }, [by, colour, data, placed]);

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-label", "map of the rows; the gallery and the table show the same rows to keyboards");
    canvas.setAttribute("role", "img");
    element.append(canvas);
    const made = createScatterplot({
      canvas, width: element.clientWidth, height: element.clientHeight, pointSize: 3, opacity: 0.8, pointSizeSelected: 1,
      deselectOnEscape: false, pointOutlineWidth: 1,
      backgroundColor: background(element), ...NO_KEYS,
    });
    plot.current = made;
    made.subscribe("select", ({ points }: { points: number[] | Uint32Array }) => choose(Uint32Array.from(points).sort()));
    made.subscribe("deselect", () => store.selection.put(new Uint32Array()));
    const watch = new ResizeObserver(() => {
      if (element.clientWidth > 0) made.set({ width: element.clientWidth, height: element.clientHeight });
    });
    watch.observe(element);
    return () => {
      watch.disconnect();
      made.destroy();
      canvas.remove();
      plot.current = null;
    };
  }, []);

  useSignalEffect(() => {
    const now = theme.value;
    plot.current?.set({ backgroundColor: background(box.current) });
    if (plot.current !== null && drawn.peek() > 0) paint(plot.current, legend.peek(), now);
  });
  useSignalEffect(() => {
    void store.shown.value;
    if (plot.current !== null && drawn.peek() > 0) filter(store, plot.current, cloud.current);
  });
  useSignalEffect(() => {
    const rows = store.selection.value;
    if (plot.current === null || drawn.peek() === 0) return;
    if (rows.length < MANY) return mark(plot.current, rows);
    // What is sent leaves in parts, between which the page must not be drawing.
    const later = setTimeout(() => plot.current !== null && mark(plot.current, rows), AWAY_MS);
    return () => clearTimeout(later);
  });

  function begin(event: MouseEvent) {
    lasso.value = !lasso.value;
    if (lasso.value && event.detail === 0) box.current?.focus(); // pressed by a key: keys draw it
  }

  function move(event: KeyboardEvent) {
    if (plot.current === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const way = PANS[event.key];
    const zoom = ZOOMS[event.key];
    const far = plot.current.get("cameraDistance");
    if (zoom !== undefined) plot.current.set({ cameraDistance: far * zoom });
    else if (event.key === "0") void plot.current.zoomToOrigin();
    else if (event.shiftKey && way !== undefined) {
      const [x, y] = plot.current.get("cameraTarget");
      plot.current.set({ cameraTarget: [x + way[0] * PAN * far, y + way[1] * PAN * far] });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function select(corners: Spot[], join: Join) {
    lasso.value = false;
    const { x, y, left } = cloud.current;
    if (plot.current === null || x.length === 0) return;
    choose(joined(store.selection.peek(), within(onto(plot.current, cloud.current, corners), x, y, left), join));
  }

  function choose(rows: Uint32Array) {
    store.selection.put(rows);
    if (rows.length === 1) store.focus.put(rows[0] ?? null);
  }

  const colourable = columns.filter(({ computed, facet, kind }) => computed && (facet !== null || kind === "prediction"));
  return (
    <div class="wb-map" data-testid="map" data-drawn={drawn.value}>
      <div class="wb-map-tools" role="toolbar" aria-label="Map">
        <button type="button" aria-pressed={lasso.value} onClick={begin} title="draw around points to select them (or hold Shift); Ctrl adds them, Alt takes them away" data-testid="lasso">
          lasso
        </button>
        {embeddings.length > 1 && (
          <select value={by ?? ""} aria-label="places by" onChange={(event) => store.setLayout({ map: event.currentTarget.value })}>
            {embeddings.map(({ name }) => <option key={name} value={name}>{visible(name)}</option>)}
          </select>
        )}
        <label>
          <span class="wb-small">colour</span>{" "}
          <select value={colour ?? ""} data-testid="colour" onChange={(event) => store.setLayout({ colour: event.currentTarget.value || null })}>
            <option value="">none</option>
            {colourable.map(({ name }) => <option key={name} value={name}>{visible(name)}</option>)}
          </select>
        </label>
      </div>
      <div ref={box} class={lasso.value ? "wb-map-canvas wb-lassoing" : "wb-map-canvas"} data-testid="map-canvas" tabIndex={0} role="application" aria-label={KEYS} onKeyDown={move}>
        <Lasso active={lasso.value} over={box} done={select} cancel={() => (lasso.value = false)} />
      </div>
      <Legend colours={legend.value} theme={theme.value} />
      {!placed ? (
        <p class="wb-map-waiting">
          <button type="button" class="wb-primary" data-testid="compute-map" onClick={() => store.attempt(() => store.wire.ask("compute", { column: by ?? "" }))}>
            compute {visible(by ?? "")} of all rows
          </button>
        </p>
      ) : (
        waiting.value && <p class="wb-map-waiting" role="status">placing the rows …</p>
      )}
    </div>
  );
}

function Legend({ colours, theme }: { colours: ScatterReply["colours"]; theme: Theme }) {
  if (colours === null) return null;
  if (colours.kind === "numbers") {
    return (
      <span class="wb-legend">
        {numberWords(colours.low ?? 0)} <span class="wb-ramp" style={{ background: `linear-gradient(90deg, ${ramp(8).join()})` }} /> {numberWords(colours.high ?? 1)}
      </span>
    );
  }
  return (
    <span class="wb-legend">
      {(colours.labels ?? []).slice(0, 24).map((label, code) => (
        <span key={label} class="wb-legend-item">
          <i style={{ background: category(code, theme) }} /> <bdi>{visible(label)}</bdi>
        </span>
      ))}
    </span>
  );
}

/** Corners in pixels, as coordinates of the points: the plot tells of a point alone where it is drawn. */
function onto(plot: Plot, { x, y }: Cloud, corners: Spot[]): Spot[] {
  let [low, high] = [0, 0];
  for (let row = 1; row < x.length; row++) {
    const sum = (x[row] as number) + (y[row] as number);
    if (sum < (x[low] as number) + (y[low] as number)) low = row;
    else if (sum > (x[high] as number) + (y[high] as number)) high = row;
  }
  const [from, to] = [plot.getScreenPosition(low), plot.getScreenPosition(high)] as [Spot, Spot];
  // Both axes have one scale. Points that all lie in one place may have any.
  const far = (x[high] as number) - (x[low] as number) + (y[high] as number) - (y[low] as number);
  const scale = far > 0 ? (to[0] - from[0] - (to[1] - from[1])) / far : 1;
  return corners.map(([across, down]) => [
    (x[low] as number) + (across - from[0]) / scale,
    (y[low] as number) - (down - from[1]) / scale,
  ]);
}

/** Columns of coordinates and codes, as the plot takes them. */
function split(points: DataView, codes: DataView, { colours, count }: ScatterReply) {
  const both = new Float32Array(points.buffer.slice(points.byteOffset, points.byteOffset + 8 * count));
  const code = new Uint8Array(codes.buffer, codes.byteOffset, count);
  const [x, y, z] = [new Float32Array(count), new Float32Array(count), new Float32Array(count)];
  const numbers = colours?.kind === "numbers";
  const nothing = numbers ? 0 : (colours?.labels?.length ?? 0);
  for (let at = 0; at < count; at++) {
    x[at] = both[2 * at] as number;
    y[at] = both[2 * at + 1] as number;
    const value = code[at] as number;
    z[at] = value === NULL_CODE ? nothing : numbers ? value / 254 : value;
  }
  return { x, y, z };
}

function paint(plot: Plot, colours: ScatterReply["colours"], theme: Theme) {
  plot.set({ pointColorActive: theme === "dark" ? "#ffffff" : "#10161f" });
  if (colours === null) plot.set({ colorBy: null, pointColor: CATEGORIES[theme][0] ?? "#0072b2" });
  else if (colours.kind === "numbers") plot.set({ colorBy: "valueA", pointColor: ramp(STEPS) });
  else {
    const labels = colours.labels ?? [];
    plot.set({ colorBy: "valueA", pointColor: [...labels.map((_, code) => category(code, theme)), NOTHING[theme]] });
  }
}

/** Sets what is not so yet: each `set` draws all points again. */
function adjust(plot: Plot, name: "pointSize" | "opacityInactiveScale", wanted: number) {
  if (plot.get(name) !== wanted) plot.set({ [name]: wanted });
}

function size(store: Store, plot: Plot) {
  const { count } = store.shown.peek();
  adjust(plot, "pointSize", count < 400 ? 6 : count < 4000 ? 4 : 3);
}

/** Leaves in sight what the filter and the facets leave. */
function filter(store: Store, plot: Plot, cloud: Cloud) {
  const { count, of, version } = store.shown.peek();
  size(store, plot);
  if (count === of) {
    if (cloud.left !== null) plot.unfilter({ preventEvent: true });
    cloud.left = null;
    return;
  }
  store.wire.ask<{ version: number; count: number }>("mask", {}, "mask").then(
    ({ ok, buffers }) => {
      const bits = buffers[0];
      if (bits === undefined || ok.version !== version || plot.get("isDestroyed")) return;
      const rows: number[] = []; // a plain list: the plot takes any other array for one row
      const left = new Uint8Array(cloud.x.length);
      for (let byte = 0; byte < bits.byteLength; byte++) {
        const eight = bits.getUint8(byte);
        for (let bit = 0; eight >> bit !== 0; bit++) {
          if (!((eight >> bit) & 1)) continue;
          rows.push(8 * byte + bit);
          left[8 * byte + bit] = 1;
        }
      }
      cloud.left = left;
      void plot.filter(rows, { preventEvent: true });
    },
    (error: unknown) => told(error, store.say),
  );
}

function mark(plot: Plot, rows: Uint32Array) {
  adjust(plot, "opacityInactiveScale", rows.length > 1 ? 0.3 : 1); // one row among many is seen without dimming them
  if (rows.length > 0) plot.select([...rows], { preventEvent: true });
  else if (plot.get("selectedPoints").length > 0) plot.deselect({ preventEvent: true });
}

function background(element: Element | null): string {
  return hex(backgroundOf(element) ?? parsed(BACKGROUND.light));
}
