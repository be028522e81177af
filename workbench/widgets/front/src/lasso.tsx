// A line drawn around points of the map. The plot has one of its own, which draws all points anew at each move of the
// mouse; this one lies above the plot, and the points are looked through once, when it ends.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { clamp } from "./virtual";

/** How rows join what is selected: instead of it, added to it, or taken from it. */
export type Join = "instead" | "add" | "remove";

export type Spot = readonly [x: number, y: number];

const STEP = 3; // pixels between two corners
const STRIPS = 256;
const ARROWS: Record<string, Spot> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const [NEAR, FAR] = [10, 40]; // pixels that an arrow key goes, and with Shift

interface Props {
  /** Whether a drag draws a line; otherwise only one with Shift held does. */
  active: boolean;
  /** What the line is drawn over: its events are taken before the plot sees them. */
  over: { readonly current: HTMLElement | null };
  /** Corners in pixels of `over`. */
  done(corners: Spot[], join: Join): void;
  cancel(): void;
}

export function Lasso({ active, over, done, cancel }: Props) {
  const corners = useSignal<Spot[]>([]);
  const cross = useSignal<Spot | null>(null); // where the keys are
  const now = useRef({ active, done, cancel });
  now.current = { active, done, cancel };

  useEffect(() => {
    const element = over.current;
    const keys = active && element !== null && element.matches(":focus");
    cross.value = keys ? [element.clientWidth / 2, element.clientHeight / 2] : null;
  }, [active]);

  useEffect(() => {
    const element = over.current;
    if (element === null) return;
    let pointer: number | null = null;
    const spot = (event: PointerEvent): Spot => {
      const { left, top } = element.getBoundingClientRect();
      return [event.clientX - left, event.clientY - top];
    };
    const stop = () => {
      pointer = null;
      corners.value = [];
    };
    const end = (event: PointerEvent | KeyboardEvent) => {
      const drawn = corners.value;
      stop();
      if (drawn.length < 3) return;
      now.current.done(drawn, event.ctrlKey || event.metaKey ? "add" : event.altKey ? "remove" : "instead");
    };
    const press = (event: KeyboardEvent) => {
      const way = ARROWS[event.key];
      if (!now.current.active || (way === undefined && ![" ", "Enter", "Escape"].includes(event.key))) return;
      event.preventDefault(); // nor do keys mean here what they mean elsewhere
      event.stopPropagation();
      const { clientWidth, clientHeight } = element;
      const [x, y] = cross.value ?? [clientWidth / 2, clientHeight / 2];
      const far = event.shiftKey ? FAR : NEAR;
      const [right, lower] = way ?? [0, 0];
      cross.value = [clamp(x + far * right, clientWidth), clamp(y + far * lower, clientHeight)];
      if (event.key === " ") corners.value = [...corners.value, cross.value];
      else if (event.key === "Enter") end(event);
      else if (event.key === "Escape") {
        stop();
        now.current.cancel();
      }
    };
    const down = (event: PointerEvent) => {
      if (event.button !== 0 || pointer !== null || !(now.current.active || event.shiftKey)) return;
      event.preventDefault(); // no mouse event follows, by which the plot would pan
      event.stopPropagation();
      pointer = event.pointerId;
      element.setPointerCapture(pointer);
      corners.value = [spot(event)];
    };
    const move = (event: PointerEvent) => {
      if (event.pointerId !== pointer) return;
      event.stopPropagation();
      const [x, y] = spot(event);
      const [lastX, lastY] = corners.value.at(-1) as Spot;
      if (Math.hypot(x - lastX, y - lastY) >= STEP) corners.value = [...corners.value, [x, y]];
    };
    const up = (event: PointerEvent) => {
      if (event.pointerId !== pointer) return;
      event.stopPropagation();
      end(event);
    };
    const lost = (event: PointerEvent) => {
      if (event.pointerId === pointer) stop();
    };
    const ended = new AbortController();
    const first = { capture: true, signal: ended.signal };
    element.addEventListener("pointerdown", down, first);
    element.addEventListener("pointermove", move, first);
    element.addEventListener("pointerup", up, first);
    element.addEventListener("pointercancel", lost, first);
    element.addEventListener("keydown", press, { signal: ended.signal });
    return () => ended.abort();
  }, []);

  const at = cross.value;
  if (corners.value.length < 2 && at === null) return null;
  const drawn = at === null ? corners.value : [...corners.value, at];
  return (
    <svg class="wb-lasso" aria-hidden="true" data-corners={corners.value.length}>
      <polygon points={drawn.map((corner) => corner.join()).join(" ")} />
      {at !== null && <path d={`M${at[0] - 9} ${at[1]}h18M${at[0]} ${at[1] - 9}v18`} />}
    </svg>
  );
}

/** Which of the points lie within a line, by the even-odd rule. `left` says which of them are in sight; null is all. */
export function within(corners: readonly Spot[], x: Float32Array, y: Float32Array, left: Uint8Array | null): Uint32Array {
  const [lowX, highX] = ends(corners, 0);
  const [lowY, highY] = ends(corners, 1);
  const strip = (down: number) => Math.min(STRIPS - 1, Math.floor(((down - lowY) / (highY - lowY || 1)) * STRIPS));
  // The sides that come by each strip: a point is held against a few of them, however long the line is.
  const sides: number[][] = Array.from({ length: STRIPS }, () => []);
  corners.forEach(([, down], at) => {
    const before = (corners.at(at - 1) as Spot)[1];
    for (let one = strip(Math.min(down, before)); one <= strip(Math.max(down, before)); one++) sides[one]?.push(at);
  });
  const rows = new Uint32Array(x.length);
  let count = 0;
  for (let row = 0; row < x.length; row++) {
    const [across, down] = [x[row] as number, y[row] as number];
    if (!(across >= lowX && across <= highX && down >= lowY && down <= highY)) continue;
    if (left !== null && left[row] === 0) continue;
    let inside = false;
    for (const at of sides[strip(down)] as number[]) {
      const [here, top] = corners[at] as Spot;
      const [there, bottom] = corners[at === 0 ? corners.length - 1 : at - 1] as Spot;
      if (top > down !== bottom > down && across < here + ((down - top) / (bottom - top)) * (there - here)) inside = !inside;
    }
    if (inside) rows[count++] = row;
  }
  return rows.slice(0, count);
}

function ends(corners: readonly Spot[], axis: 0 | 1): [number, number] {
  const values = corners.map((corner) => corner[axis]);
  return [Math.min(...values), Math.max(...values)];
}

/** The rows that are selected after some join or leave them, in their order. */
export function joined(before: Uint32Array, rows: Uint32Array, join: Join): Uint32Array {
  if (join === "instead") return rows;
  const both = new Set(before);
  for (const row of rows) if (join === "add") both.add(row);
  else both.delete(row);
  return Uint32Array.from(both).sort();
}
