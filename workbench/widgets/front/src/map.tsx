// Map: every row a point, by an embedding; colour by any column, pan, zoom, and a lasso that selects.

import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import createScatterplot from "regl-scatterplot";
import { numberWords } from "./cells";
import { BACKGROUND, CATEGORIES, NOTHING, type Theme, category, hex, parsed, ramp } from "./colours";
import { visible } from "./spans";
import type { Store } from "./store";
import { backgroundOf, useTheme } from "./theme";
import { told } from "./wire";

interface ScatterReply {
  count: number;
  colours: { kind: "categories" | "numbers"; labels: string[] | null; low: number | null; high: number | null } | null;
}

type Plot = ReturnType<typeof createScatterplot>;

const NULL_CODE = 255;
const STEPS = 32; // of a colour scale of numbers

/** The points of all rows; those that the filter leaves are seen. */
export function MapView({ store }: { store: Store }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const legend = useSignal<ScatterReply["colours"]>(null);
  const drawn = useSignal(0);
  const waiting = useSignal(true);
  const lasso = useSignal(false);
  const theme = useTheme(box);
  const { columns, data } = store.about.value;
  const embeddings = columns.filter(({ kind }) => kind === "embedding");
  const by = store.layout.value.map ?? embeddings[0]?.name ?? null;
  const colour = store.layout.value.colour;

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-label", "map of the rows; the gallery and the table show the same rows to keyboards");
    canvas.setAttribute("role", "img");
    element.append(canvas);
    const made = createScatterplot({
      canvas, width: element.clientWidth, height: element.clientHeight, pointSize: 3, opacity: 0.8, pointSizeSelected: 1,
      lassoOnLongPress: true, deselectOnEscape: false, pointOutlineWidth: 1,
      backgroundColor: background(element), lassoLongPressIndicatorParentElement: element,
    });
    plot.current = made;
    made.subscribe("select", ({ points }: { points: number[] | Uint32Array }) => {
      const rows = Uint32Array.from(points).sort();
      store.selection.put(rows);
      if (rows.length === 1) store.focus.put(rows[0] ?? null);
      lasso.value = false;
    });
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

  const placed = by !== null && (columns.find(({ name }) => name === by)?.computed ?? false);
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
        await plot.current.draw(split(points, codes, ok), { preventFilterReset: false });
        paint(plot.current, ok.colours, theme.peek());
        waiting.value = false;
        drawn.value = Math.round(performance.now() - begun);
        filter(store, plot.current);
        mark(store, plot.current);
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

  useSignalEffect(() => {
    const now = theme.value;
    plot.current?.set({ backgroundColor: background(box.current), lassoColor: now === "dark" ? "#8ec5ff" : "#0b63c5" });
    if (plot.current !== null && drawn.peek() > 0) paint(plot.current, legend.peek(), now);
  });
  useSignalEffect(() => {
    void store.shown.value;
    if (plot.current !== null && drawn.value > 0) filter(store, plot.current);
  });
  useSignalEffect(() => {
    void store.selection.value;
    if (plot.current !== null && drawn.value > 0) mark(store, plot.current);
  });
  useEffect(() => {
    plot.current?.set({ mouseMode: lasso.value ? "lasso" : "panZoom" });
  }, [lasso.value]);

  const colourable = columns.filter(({ computed, facet, kind }) => computed && (facet !== null || kind === "prediction"));
  return (
    <div class="wb-map" data-testid="map" data-drawn={drawn.value}>
      <div class="wb-map-tools" role="toolbar" aria-label="Map">
        <button type="button" aria-pressed={lasso.value} onClick={() => (lasso.value = !lasso.value)} title="draw around points to select them (or hold Shift)" data-testid="lasso">
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
      <div ref={box} class="wb-map-canvas" data-testid="map-canvas" />
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

/** Leaves in sight what the filter and the facets leave. */
function filter(store: Store, plot: Plot) {
  const { count, of, version } = store.shown.peek();
  plot.set({ pointSize: count < 400 ? 6 : count < 4000 ? 4 : 3 });
  if (count === of) return void plot.unfilter({ preventEvent: true });
  store.wire.ask<{ version: number; count: number }>("mask", {}, "mask").then(
    ({ ok, buffers }) => {
      const bits = buffers[0];
      if (bits === undefined || ok.version !== version || plot.get("isDestroyed")) return;
      const rows: number[] = []; // a plain list: the plot takes any other array for one row
      for (let byte = 0; byte < bits.byteLength; byte++) {
        const eight = bits.getUint8(byte);
        for (let bit = 0; eight >> bit !== 0; bit++) if ((eight >> bit) & 1) rows.push(8 * byte + bit);
      }
      void plot.filter(rows, { preventEvent: true });
    },
    (error: unknown) => told(error, store.say),
  );
}

function mark(store: Store, plot: Plot) {
  const rows = store.selection.peek();
  plot.set({ opacityInactiveScale: rows.length > 1 ? 0.3 : 1 }); // one row among many is seen without dimming them
  if (rows.length === 0) plot.deselect({ preventEvent: true });
  else plot.select([...rows], { preventEvent: true });
}

function background(element: Element | null): string {
  return hex(backgroundOf(element) ?? parsed(BACKGROUND.light));
}
