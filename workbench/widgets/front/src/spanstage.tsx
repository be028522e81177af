// Stage of a text: words are marked with the mouse or by keys, as what must not matter or what should.

import { useMemo, useRef } from "preact/hooks";
import { flip } from "./flip";
import type { Desk } from "./marks";
import { type Span, equal, legible, minus, parts, pieces, rulerOf, union } from "./spans";
import type { Role, Store } from "./store";

const OTHER: Record<Role, Role> = { irrelevant: "relevant", relevant: "irrelevant" };

/** The text of a row; a selection in it becomes a mark. */
export function SpanStage({ store, desk, text: whole, length }: { store: Store; desk: Desk; text: string; length: number }) {
  const text = useMemo(() => legible(whole), [whole]);
  const shown = useMemo(() => rulerOf(text).length, [text]);
  const box = useRef<HTMLParagraphElement>(null);
  const spans = desk.spans.value;
  const annotating = store.about.value.can.annotate;

  function mark() {
    const chosen = chosenIn(box.current, text);
    if (chosen === null || !annotating) return;
    const role = store.role.value;
    const erasing = store.tool.value === "erase";
    const now = { ...spans, [role]: erasing ? minus(spans[role], [chosen]) : union(spans[role], [chosen]) };
    // Nothing is both.
    const after = { ...now, [OTHER[role]]: minus(spans[OTHER[role]], [chosen]) };
    if (equal(after.irrelevant, spans.irrelevant) && equal(after.relevant, spans.relevant)) return;
    desk.saveSpans({ irrelevant: pairs(after.irrelevant), relevant: pairs(after.relevant) });
    getSelection()?.removeAllRanges();
  }

  /** The mouse may be let go of anywhere: what it has selected in the text counts. */
  function press() {
    const release = () => mark();
    document.addEventListener("pointerup", release, { once: true });
    document.addEventListener("pointercancel", () => document.removeEventListener("pointerup", release), { once: true });
  }

  function keyed(event: KeyboardEvent) {
    if (event.altKey) return;
    if (event.key === "Enter") mark();
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      if (box.current !== null) stepIn(box.current, event.key === "ArrowLeft" ? "left" : "right", event.shiftKey, event.ctrlKey || event.metaKey);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return (
    <div class="wb-span-stage">
      <p
        ref={box}
        class="wb-text"
        dir="auto"
        tabIndex={0}
        role="textbox"
        aria-readonly="true"
        aria-multiline="true"
        aria-label="text of the row; select with the mouse, or a word with the arrow keys and more with Shift, then press Enter to mark it"
        data-testid="text"
        onPointerDown={press}
        onKeyDown={keyed}
      >
        {pieces(text, spans).map((piece) => (
          <span key={piece.start} class={piece.irrelevant ? "wb-span wb-irrelevant" : piece.relevant ? "wb-span wb-relevant" : "wb-span"}>
            {parts(piece.text, piece.start).map((part) => (
              <span key={part.start} data-start={part.start} data-end={part.end} class={part.escaped ? "wb-escaped" : ""}>{part.shown}</span>
            ))}
          </span>
        ))}
      </p>
      {shown < length && (
        <p class="wb-small" data-testid="cut">The first {shown.toLocaleString("en")} of {length.toLocaleString("en")} characters are shown.</p>
      )}
      {annotating && (
        <div class="wb-toolbar" role="toolbar" aria-label="Marking">
          <div class="wb-joined" role="group" aria-label="What a mark says">
            {(["irrelevant", "relevant"] as const).map((role) => (
              <button key={role} type="button" class={`wb-role wb-role-${role}`} aria-pressed={store.role.value === role} data-testid={`role-${role}`} onClick={() => (store.role.value = role)}>
                {role}
              </button>
            ))}
          </div>
          <div class="wb-group" role="group" aria-label="Changes">
            <button type="button" aria-pressed={store.tool.value === "erase"} onClick={() => (store.tool.value = store.tool.value === "erase" ? "brush" : "erase")} data-testid="tool-erase">erase</button>
            <button type="button" data-testid="undo" onClick={() => void desk.act("undo")}>↶<span class="wb-hidden">undo</span></button>
            <button type="button" data-testid="redo" onClick={() => void desk.act("redo")}>↷<span class="wb-hidden">redo</span></button>
            <button type="button" data-testid="clear" onClick={() => flip(store, desk, "clear")}>clear</button>
          </div>
        </div>
      )}
    </div>
  );
}

/** Selects by keys what a mouse would: the next word, or, with Shift, a character or a word more or less. */
function stepIn(element: HTMLElement, way: "left" | "right", extend: boolean, wide: boolean) {
  const selection = getSelection();
  if (selection === null) return;
  if (selection.focusNode === null || !element.contains(selection.focusNode)) selection.collapse(element, 0);
  if (extend) return selection.modify("extend", way, wide ? "word" : "character");
  if (!selection.isCollapsed) way === "right" ? selection.collapseToEnd() : selection.collapseToStart();
  selection.modify("extend", way, "word");
  if (!element.contains(selection.focusNode)) selection.collapse(element, way === "right" ? element.childNodes.length : 0);
}

/** The characters that are selected within an element, in code points of the text. */
function chosenIn(element: HTMLElement | null, text: string): Span | null {
  const selection = getSelection();
  if (element === null || selection === null || selection.rangeCount === 0 || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  if (!range.intersectsNode(element)) return null;
  // A selection may begin before the text, or end behind it, as that of a triple click does.
  const start = element.contains(range.startContainer) ? placeOf(element, range.startContainer, range.startOffset) : 0;
  const length = rulerOf(text).length;
  const end = element.contains(range.endContainer) ? placeOf(element, range.endContainer, range.endOffset) : length;
  return end <= start ? null : [start, Math.min(end, length)];
}

/** A place in the page as one in the text: each part knows where it begins and ends. */
function placeOf(element: HTMLElement, node: Node, offset: number): number {
  const part = node.parentElement;
  if (node instanceof Text && part !== null && part.dataset["start"] !== undefined) {
    const start = Number(part.dataset["start"]);
    if (part.classList.contains("wb-escaped")) return offset > 0 ? Number(part.dataset["end"]) : start;
    return start + rulerOf(node.data).toPoints(offset);
  }
  // Between two parts: where the first one ends that lies before.
  const before = document.createRange();
  before.setStart(element, 0);
  before.setEnd(node, offset);
  let place = 0;
  for (const each of element.querySelectorAll<HTMLElement>("[data-end]")) {
    if (before.comparePoint(each, each.childNodes.length) <= 0) place = Number(each.dataset["end"]);
    else break;
  }
  return place;
}

function pairs(spans: readonly Span[]): [number, number][] {
  return spans.map(([start, end]) => [start, end]);
}
