// The row in focus among the rows shown: where it stands, and that it comes into sight, however far away it is.

import { useEffect, useRef } from "preact/hooks";
import type { Pages } from "./pages";
import type { Store } from "./store";
import { told } from "./wire";

/** Brings the row in focus into sight when another one gets it; returns its place, once that is known. */
export function useFocusPlace(store: Store, pages: Pages, show: (place: number) => void): number | undefined {
  const row = store.focus.value;
  const { version } = store.shown.value;
  const latest = useRef(show);
  latest.current = show; // an answer may come when lines have another length
  const done = useRef<number | null>(null);
  useEffect(() => {
    // Once for each row: another filter, or another order, moves nothing on the screen by itself.
    if (row === null || done.current === row) {
      done.current = row;
      return;
    }
    let wanted = true;
    pages.find(row).then(
      (place) => {
        if (!wanted) return;
        done.current = row;
        if (place !== null) latest.current(place);
        pages.arrived.value += 1; // its place is known now: who draws it may say so
      },
      (error: unknown) => told(error, store.say),
    );
    return () => {
      wanted = false;
    };
  }, [row, version]);
  return row === null ? undefined : pages.placeOf(row);
}
