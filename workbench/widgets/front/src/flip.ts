// What is done to all marks of a row at once: they are inverted, or cleared; saved as a stroke is.

import { copy, empty, invert, minus } from "./mask";
import type { Desk } from "./marks";
import type { Store } from "./store";

/** Inverts what is marked in the role at hand, or clears both roles of the row. */
export function flip(store: Store, desk: Desk, how: "invert" | "clear"): void {
  const now = desk.marks.value;
  const looked = desk.looked.value;
  if (now === null || !store.about.value.can.annotate) {
    if (looked?.text != null && how === "clear") desk.saveSpans({ irrelevant: [], relevant: [] });
    return;
  }
  const { height, width } = now.irrelevant;
  if (how === "clear") {
    desk.marks.value = { irrelevant: empty(height, width), relevant: empty(height, width) };
  } else {
    const role = store.role.value;
    const other = role === "irrelevant" ? "relevant" : "irrelevant";
    // What the other role says stays said: nothing is both.
    const inverted = copy(now[role]);
    invert(inverted);
    desk.marks.value = { ...now, [role]: minus(inverted, now[other]) };
  }
  desk.save(desk.marks.value);
}
