// Scroller: ties an element that scrolls to a list of any length; gallery and table share it.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { type Lines, type List, type Place, lines, moved, placeAt, placeOf, reveal, rested } from "./virtual";

export interface Scroller {
  box: { current: HTMLDivElement | null };
  /** Inner size of the element, in pixels. */
  size: { width: number; height: number };
  /** The lines to draw; `across` is how many rows stand in one. */
  lines(count: number, lineHeight: number, across?: number): Lines;
  onScroll(): void;
  /** Brings a line into the window. */
  show(line: number): void;
}

const REST_MS = 150; // a bar that was pushed aside by small steps goes back to its place when nobody scrolls

/** Follows the scrolling and the size of one element, whose edges and head take `around` away from its lines. */
export function useScroller(around: { width: number; height: number }): Scroller {
  const box = useRef<HTMLDivElement>(null);
  const place = useSignal<Place>({ position: 0, scrollTop: 0 });
  const size = useSignal({ width: 640, height: 400 });
  const list = useRef<List & { across: number }>({ count: 0, lineHeight: 1, viewport: 400, across: 1 });
  const rest = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const watch = new ResizeObserver(() => {
      const { clientWidth, clientHeight } = element;
      if (clientWidth > 0) size.value = { width: clientWidth - around.width, height: clientHeight - around.height };
    });
    watch.observe(element);
    return () => (watch.disconnect(), clearTimeout(rest.current));
  }, []);

  function settle(next: Place) {
    place.value = next;
    if (box.current !== null && Math.abs(box.current.scrollTop - next.scrollTop) >= 1) box.current.scrollTop = next.scrollTop;
  }

  return {
    box,
    size: size.value,
    lines(count, lineHeight, across = 1) {
      const before = list.current;
      list.current = { count, lineHeight, viewport: size.value.height, across };
      // Other rows, or larger ones: what is at the top stays there.
      if (before.count !== count || before.lineHeight !== lineHeight || before.across !== across) {
        const top = place.peek().position / before.lineHeight;
        const line = before.across === across ? top : Math.floor((Math.round(top) * before.across) / across);
        const next = placeOf(list.current, line);
        if (next.position !== place.peek().position) queueMicrotask(() => settle(next));
      }
      return lines(count, lineHeight, size.value.height, place.value, 1);
    },
    onScroll() {
      place.value = moved(list.current, place.value, box.current?.scrollTop ?? 0);
      clearTimeout(rest.current);
      rest.current = setTimeout(() => settle(rested(list.current, place.value)), REST_MS);
    },
    show(line) {
      const bar = box.current?.scrollTop ?? 0; // which the browser rounds
      const now = Math.abs(place.value.scrollTop - bar) < 1 ? place.value : placeAt(list.current, bar);
      const next = reveal(list.current, now, line);
      if (next !== now) settle(next);
    },
  };
}
