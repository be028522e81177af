// Facets: how the rows shown are spread over each column; a click or a drag narrows all other views.

import { useRef } from "preact/hooks";
import { numberWords } from "./cells";
import { visible } from "./spans";
import type { Brush, ColumnAbout, Store } from "./store";
import type { Facet } from "./wire";

const COMPUTED = ["prediction", "scalar", "text", "pending"]; // kinds that may be bars or a histogram once they are there

/** One block for each column of numbers or categories. */
export function Facets({ store }: { store: Store }) {
  const facets = store.facets.value;
  const waiting = store.about.value.columns.filter((column) => !column.computed && COMPUTED.includes(column.kind));
  return (
    <aside class={store.open.value === "facets" ? "wb-facets wb-open" : "wb-facets"} aria-label="Facets" data-testid="facets" data-version={store.shown.value.version}>
      {facets.map((facet) => (
        <section key={facet.column} class="wb-facet" aria-label={visible(facet.column)} data-testid={`facet-${facet.column}`}>
          <h4>
            <bdi>{visible(facet.column)}</bdi>
            {store.brushes.value[facet.column] !== undefined && (
              <button type="button" class="wb-quiet" onClick={() => put(store, facet.column, null)} data-testid={`unbrush-${facet.column}`}>
                all<span class="wb-hidden"> of {visible(facet.column)}</span>
              </button>
            )}
          </h4>
          {facet.kind === "bars" ? <BarFacet store={store} facet={facet} /> : facet.counts.length > 0 ? <Histogram store={store} facet={facet} /> : <p class="wb-small">no numbers</p>}
          {facet.null > 0 && <p class="wb-small">{facet.null.toLocaleString("en")} null</p>}
        </section>
      ))}
      {waiting.map((column) => <Waiting key={column.name} store={store} column={column} />)}
      {store.about.value.can.explain && !store.about.value.columns.some(({ name }) => name === "cluster") && (
        <section class="wb-facet">
          <h4>cluster</h4>
          <button type="button" class="wb-wide" data-testid="cluster" onClick={() => store.attempt(() => store.wire.ask("cluster", {}))}>
            group by what the model looks at
          </button>
        </section>
      )}
    </aside>
  );
}

/** A column that is not computed yet: nothing runs before somebody wants it. */
function Waiting({ store, column }: { store: Store; column: ColumnAbout }) {
  return (
    <section class="wb-facet">
      <h4><bdi>{visible(column.name)}</bdi></h4>
      <button
        type="button"
        class="wb-wide"
        data-testid={`compute-${column.name}`}
        onClick={() => store.attempt(() => store.wire.ask("compute", { column: column.name }))}
      >
        compute {visible(column.name)}
      </button>
    </section>
  );
}

function BarFacet({ store, facet }: { store: Store; facet: Facet }) {
  const brush = store.brushes.value[facet.column];
  const chosen = brush !== undefined && "values" in brush ? brush.values : [];
  const most = Math.max(1, ...facet.total);
  return (
    <ul class="wb-bars-list">
      {(facet.labels ?? []).map((label, bin) => {
        const [count, total] = [facet.counts[bin] ?? 0, facet.total[bin] ?? 0];
        const on = chosen.length === 0 || chosen.includes(label);
        return (
          <li key={label}>
            <button
              type="button"
              class={`wb-facet-bar${on ? "" : " wb-off"}`}
              aria-pressed={chosen.includes(label)}
              data-testid={`bar-${facet.column}-${label}`}
              onClick={(event) => {
                const others = chosen.filter((other) => other !== label);
                const several = event.ctrlKey || event.metaKey || event.shiftKey;
                const next = chosen.includes(label) ? others : several ? [...chosen, label] : [label];
                put(store, facet.column, next.length === 0 ? null : { values: next });
              }}
            >
              <span class="wb-facet-total" style={{ width: `${(100 * total) / most}%` }} />
              <span class="wb-facet-count" style={{ width: `${(100 * count) / most}%` }} />
              <bdi class="wb-facet-name">{visible(label) || "(empty)"}</bdi>
              <span class="wb-facet-number">{count.toLocaleString("en")}<span class="wb-hidden"> of {total.toLocaleString("en")}</span></span>
            </button>
          </li>
        );
      })}
    </ul>
  );
}

function Histogram({ store, facet }: { store: Store; facet: Facet }) {
  const box = useRef<SVGSVGElement>(null);
  const from = useRef<number | null>(null);
  const edges = facet.edges ?? [0, 1];
  const bins = facet.counts.length;
  const most = Math.max(1, ...facet.total);
  const [low, high] = [edges[0] ?? 0, edges.at(-1) ?? 1];
  const brush = store.brushes.value[facet.column];
  const chosen = brush !== undefined && "low" in brush ? brush : null;

  function bin(event: PointerEvent): number {
    const area = box.current?.getBoundingClientRect();
    if (area === undefined) return 0;
    return Math.max(0, Math.min(bins - 1, Math.floor(((event.clientX - area.left) / area.width) * bins)));
  }
  function choose(a: number, b: number) {
    const next = { low: edges[Math.min(a, b)] ?? low, high: edges[Math.max(a, b) + 1] ?? high };
    // A drag tells of every pixel; the kernel hears of every bin.
    if (next.low !== chosen?.low || next.high !== chosen.high) put(store, facet.column, next);
  }

  const range = binsOf(edges, chosen);
  return (
    <div>
      <svg
        ref={box}
        class="wb-histogram"
        viewBox={`0 0 ${bins} 20`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${visible(facet.column)} from ${visible(facet.labels?.[0] ?? numberWords(low))} to ${visible(facet.labels?.at(-1) ?? numberWords(high))}; drag to choose a range, or use the two boxes`}
        data-testid={`histogram-${facet.column}`}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          from.current = bin(event);
          choose(from.current, from.current);
        }}
        onPointerMove={(event) => from.current !== null && choose(from.current, bin(event))}
        onPointerUp={() => (from.current = null)}
        onPointerCancel={() => (from.current = null)}
      >
        {facet.total.map((total, at) => {
          const inside = chosen === null || ((edges[at] ?? 0) >= chosen.low - 1e-12 && (edges[at + 1] ?? 0) <= chosen.high + 1e-12);
          const count = facet.counts[at] ?? 0;
          return (
            <g key={at} class={inside ? "" : "wb-off"}>
              <rect class="wb-h-total" x={at + 0.05} width={0.9} y={20 - (20 * total) / most} height={(20 * total) / most} />
              <rect class="wb-h-count" x={at + 0.05} width={0.9} y={20 - (20 * count) / most} height={(20 * count) / most} />
            </g>
          );
        })}
      </svg>
      <p class="wb-range">
        <Edge facet={facet} name="from" value={chosen?.low ?? low} bins={range} choose={choose} />
        <Edge facet={facet} name="to" value={chosen?.high ?? high} bins={range} choose={choose} />
      </p>
    </div>
  );
}

/** The first and the last bin of a range, which need not begin and end where bins do. */
export function binsOf(edges: readonly number[], range: { low: number; high: number } | null): [number, number] {
  const last = edges.length - 2;
  if (range === null) return [0, last];
  const slack = 1e-9 * Math.abs((edges.at(-1) ?? 0) - (edges[0] ?? 0));
  const first = edges.findLastIndex((edge) => edge <= range.low + slack);
  const end = edges.findIndex((edge) => edge >= range.high - slack);
  const from = Math.max(0, Math.min(last, first));
  return [from, Math.max(from, (end < 0 ? last + 1 : end) - 1)];
}

/** One end of a range; the arrow keys move it by a bin, so that no pointer is needed. */
function Edge({ facet, name, value, bins, choose }: { facet: Facet; name: "from" | "to"; value: number; bins: [number, number]; choose: (a: number, b: number) => void }) {
  const [first, last] = bins;
  const most = facet.counts.length - 1;
  // Dates, and whole numbers that stand alone, have names that their edges would not tell.
  const words = facet.labels?.[name === "from" ? first : last] ?? numberWords(value);
  return (
    <span
      class="wb-edge"
      role="slider"
      tabIndex={0}
      aria-label={`${visible(facet.column)} ${name}`}
      aria-valuemin={facet.edges?.[0] ?? 0}
      aria-valuemax={facet.edges?.at(-1) ?? 1}
      aria-valuenow={value}
      aria-valuetext={visible(words)}
      data-testid={`edge-${facet.column}-${name}`}
      onKeyDown={(event) => {
        const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
        if (step === undefined) return;
        event.preventDefault();
        event.stopPropagation();
        if (name === "from") choose(Math.max(0, Math.min(last, first + step)), last);
        else choose(first, Math.max(first, Math.min(most, last + step)));
      }}
    >
      {visible(words)}
    </span>
  );
}

function put(store: Store, column: string, brush: Brush | null) {
  const { [column]: _, ...others } = store.brushes.value;
  store.brushes.put(brush === null ? others : { ...others, [column]: brush });
}
