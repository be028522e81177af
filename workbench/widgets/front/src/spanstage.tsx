// Stage of a text: words are marked with the mouse or by keys, as what must not matter or what should.

import { useRef } from "preact/hooks";
import { flip } from "./flip";
import type { Desk } from "./marks";
import { type Span, minus, parts, pieces, rulerOf, union } from "./spans";
import type { Role, Store } from "./store";

const OTHER: Record<Role, Role> = { irrelevant: "relevant", relevant: "irrelevant" };

/** The text of a row; a selection in it becomes a mark. */
export function SpanStage({ store, desk, text }: { store: Store; desk: Desk; text: string }) {
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
    desk.saveSpans({ irrelevant: pairs(after.irrelevant), relevant: pairs(after.relevant) });
    getSelection()?.removeAllRanges();
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
        aria-label="text of the row; select words, with the mouse or with Shift and the arrow keys, then press Enter to mark them"
        data-testid="text"
        onPointerUp={mark}
        onKeyDown={(event) => {
          if (event.key === "Enter") {
            event.preventDefault();
            mark();
          }
        }}
      >
        {pieces(text, spans).map((piece) => (
          <span key={piece.start} class={piece.irrelevant ? "wb-span wb-irrelevant" : piece.relevant ? "wb-span wb-relevant" : "wb-span"}>
            {parts(piece.text, piece.start).map((part) => (
              <span key={part.start} data-start={part.start} data-end={part.end} class={part.escaped ? "wb-escaped" : ""}>{part.shown}</span>
            ))}
          </span>
        ))}
      </p>
      {annotating && (
        <div class="wb-toolbar" role="toolbar" aria-label="Marking">
          <div class="wb-group" role="group" aria-label="What a mark says">
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

/** The characters that are selected within an element, in code points of the text. */
function chosenIn(element: HTMLElement | null, text: string): Span | null {
  const selection = getSelection();
  if (element === null || selection === null || selection.rangeCount === 0 || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  if (!element.contains(range.startContainer) || !element.contains(range.endContainer)) return null;
  const [start, end] = [placeOf(range.startContainer, range.startOffset), placeOf(range.endContainer, range.endOffset)];
  if (start === null || end === null || end <= start) return null;
  return [start, Math.min(end, rulerOf(text).length)];
}

/** A place in the page as one in the text: each part knows where it begins. */
function placeOf(node: Node, offset: number): number | null {
  if (node instanceof Element) {
    const child = node.childNodes[offset] ?? node;
    const part = child instanceof Element ? (child.matches("[data-start]") ? child : child.querySelector("[data-start]")) : null;
    if (part instanceof HTMLElement) return Number(child === node ? part.dataset["end"] : part.dataset["start"]);
    return node instanceof HTMLElement && node.dataset["end"] !== undefined ? Number(node.dataset["end"]) : null;
  }
  const part = node.parentElement;
  if (part === null || part.dataset["start"] === undefined) return null;
  const start = Number(part.dataset["start"]);
  if (part.classList.contains("wb-escaped")) return offset > 0 ? Number(part.dataset["end"]) : start;
  return start + rulerOf(node.textContent ?? "").toPoints(offset);
}

function pairs(spans: readonly Span[]): [number, number][] {
  return spans.map(([start, end]) => [start, end]);
}
