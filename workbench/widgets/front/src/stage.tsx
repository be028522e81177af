// Stage: one picture, large, to paint on: what must not matter, what should. Each stroke goes to the log at once.

import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { HeatLayer } from "./card";
import { COLOURS, hatchMarks } from "./hatch";
import type { HeatMap } from "./heat";
import { type Mask, copy, flood, lasso, minus, rectangle, stroke } from "./mask";
import type { Role, Store, Tool } from "./store";

export type Marks = Record<Role, Mask>;

interface Props {
  store: Store;
  picture: ImageBitmap;
  size: [number, number];
  marks: Signal<Marks>;
  heat: HeatMap | undefined;
  zoom: number;
  /** Called with what is marked after each stroke. */
  painted: (marks: Marks) => void;
}

interface Point {
  x: number;
  y: number;
}

const TINT = 90; // of 255: the picture and the attribution are seen beneath
const ARROWS: Record<string, readonly [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const OTHER: Record<Role, Role> = { irrelevant: "relevant", relevant: "irrelevant" };
const TOLERANCE = 24; // of a fill, in steps of 0..255 a channel

/** The picture with its marks, and the tool in hand. */
export function Stage({ store, picture, size, marks, heat, zoom, painted }: Props) {
  const [height, width] = size;
  const base = useRef<HTMLCanvasElement>(null);
  const over = useRef<HTMLCanvasElement>(null);
  const hatch = useRef<HTMLCanvasElement>(null);
  const drag = useRef<{ points: Point[]; before: Marks; now: Marks } | null>(null);
  const outline = useSignal<Point[]>([]);
  const hand = useSignal<Point | null>(null); // where the keys hold the tool
  const down = useSignal(false);
  const annotating = store.about.value.can.annotate;

  useEffect(() => {
    base.current?.getContext("2d")?.drawImage(picture, 0, 0, width, height);
  }, [picture, width, height]);
  const shown = marks.value;
  useEffect(() => {
    if (over.current === null || hatch.current === null) return;
    paintMarks(over.current, shown);
    hatchMarks(hatch.current, shown, zoom);
  }, [shown, zoom]);

  function at(event: PointerEvent): Point {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * width, y: ((event.clientY - box.top) / box.height) * height };
  }

  function press(event: PointerEvent) {
    if (!annotating || event.button !== 0) return;
    event.preventDefault();
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    hand.value = null;
    begin(at(event));
  }

  function begin(point: Point) {
    const before = marks.value;
    drag.current = { points: [point], before, now: { irrelevant: copy(before.irrelevant), relevant: copy(before.relevant) } };
    down.value = true;
    go(point);
  }

  /** The arrow keys move the tool, Space puts it down and lifts it: what the pointer does with its button. */
  function keyed(event: KeyboardEvent) {
    if (!annotating || event.ctrlKey || event.metaKey || event.altKey) return;
    const here = hand.value ?? { x: Math.floor(width / 2) + 0.5, y: Math.floor(height / 2) + 0.5 };
    const far = event.shiftKey ? Math.max(1, Math.round(Math.max(width, height) / 10)) : 1;
    const [x, y] = ARROWS[event.key] ?? [0, 0];
    const clamp = (value: number, size: number) => Math.max(0.5, Math.min(size - 0.5, value));
    const next = { x: clamp(here.x + x * far, width), y: clamp(here.y + y * far, height) };
    if (ARROWS[event.key] !== undefined) {
      hand.value = next;
      if (drag.current !== null) go(next);
    } else if (event.key === " " || event.key === "Enter") {
      hand.value = next;
      if (drag.current !== null) end(true);
      else {
        begin(next);
        if (store.tool.value === "fill") end(true);
      }
    } else if (event.key === "Escape" && drag.current !== null) end(false);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function go(point: Point) {
    const now = drag.current;
    if (now === null) return;
    const tool = store.tool.value;
    const last = now.points.at(-1) ?? point;
    now.points.push(point);
    if (tool === "brush" || tool === "erase") {
      const role = store.role.value;
      const value = tool === "brush" ? 1 : 0;
      for (const each of tool === "erase" ? (["irrelevant", "relevant"] as const) : [role]) {
        stroke(now.now[each], last.x, last.y, point.x, point.y, store.brush.value, value);
      }
      // Nothing is both: what is painted as one is no longer the other.
      if (tool === "brush") stroke(now.now[OTHER[role]], last.x, last.y, point.x, point.y, store.brush.value, 0);
      marks.value = { ...now.now };
    } else outline.value = tool === "rectangle" ? corners(now.points[0] ?? point, point) : [...now.points];
  }

  function end(keep: boolean) {
    const now = drag.current;
    drag.current = null;
    down.value = false;
    outline.value = [];
    if (now === null) return;
    if (!keep) {
      marks.value = now.before;
      return;
    }
    const after = finished(store.tool.value, store.role.value, now.points, now.now, base.current);
    marks.value = after;
    painted(after);
  }

  const cursor = annotating ? "crosshair" : "default";
  return (
    <div
      class="wb-stage"
      data-testid="stage"
      tabIndex={0}
      role="application"
      aria-label={`picture of ${width} by ${height} pixels${annotating ? "; paint with the pointer, or move the tool with the arrow keys, put it down and lift it with Space" : ""}`}
      onKeyDown={keyed}
      onBlur={() => drag.current !== null && hand.value !== null && end(false)}
    >
      <div
        class="wb-stage-layers"
        style={{ width: `${width * zoom}px`, height: `${height * zoom}px`, cursor }}
        data-testid="canvas"
        onPointerDown={press}
        onPointerMove={(event) => drag.current !== null && hand.value === null && go(at(event))}
        onPointerUp={() => hand.value === null && end(true)}
        onPointerCancel={() => hand.value === null && end(false)}
      >
        <canvas ref={base} width={width} height={height} class={zoom >= 3 ? "wb-layer wb-pixels" : "wb-layer"} />
        {heat !== undefined && <HeatLayer heat={heat} opacity={store.layout.value.opacity} />}
        <canvas ref={over} width={width} height={height} class="wb-layer wb-pixels" data-testid="marks" />
        <canvas ref={hatch} class="wb-layer" aria-hidden="true" />
        <svg class="wb-layer" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
          <polygon class="wb-outline" points={outline.value.map(({ x, y }) => `${x},${y}`).join(" ")} />
          {hand.value !== null && <path class="wb-hand" d={`M${hand.value.x} 0V${height}M0 ${hand.value.y}H${width}`} />}
        </svg>
      </div>
      <p class="wb-hidden" aria-live="polite" data-testid="hand">
        {hand.value !== null && `column ${Math.floor(hand.value.x)}, row ${Math.floor(hand.value.y)}${down.value ? `, ${store.tool.value} is down` : ""}`}
      </p>
    </div>
  );
}

/** What is marked when a tool is let go of. */
function finished(tool: Tool, role: Role, points: Point[], marks: Marks, base: HTMLCanvasElement | null): Marks {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined || tool === "brush" || tool === "erase") return { ...marks };
  const mark = marks[role];
  if (tool === "rectangle") rectangle(mark, first.x, first.y, last.x, last.y, 1);
  else if (tool === "lasso") lasso(mark, points, 1);
  else {
    const pixels = base?.getContext("2d")?.getImageData(0, 0, mark.width, mark.height).data;
    if (pixels !== undefined) flood(mark, pixels, Math.floor(first.x), Math.floor(first.y), TOLERANCE, 1);
  }
  return { ...marks, [OTHER[role]]: minus(marks[OTHER[role]], mark) };
}

function corners(a: Point, b: Point): Point[] {
  return [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }];
}

/** Draws both marks over the picture, through which it is seen. */
function paintMarks(canvas: HTMLCanvasElement, marks: Marks) {
  const context = canvas.getContext("2d");
  if (context === null) return;
  const picture = context.createImageData(canvas.width, canvas.height);
  for (const role of ["irrelevant", "relevant"] as const) {
    const [red, green, blue] = COLOURS[role];
    const { data } = marks[role];
    for (let at = 0; at < data.length; at++) if (data[at]) picture.data.set([red, green, blue, TINT], 4 * at);
  }
  context.putImageData(picture, 0, 0);
}
