// Toolbar of the stage: the tool in hand, what is said with it, and undo.

import { flip } from "./flip";
import type { Desk } from "./marks";
import type { Role, Store, Tool } from "./store";

const TOOLS: [Tool, string, string][] = [
  ["brush", "brush", "b"],
  ["erase", "erase", "e"],
  ["rectangle", "rect", "r"],
  ["lasso", "lasso", "l"],
  ["fill", "fill", "f"],
];
const ROLES: [Role, string, string][] = [
  ["irrelevant", "must not matter", "1"],
  ["relevant", "should matter", "2"],
];

interface Props {
  store: Store;
  desk: Desk;
  zoom: number;
  setZoom: (zoom: number) => void;
}

/** Buttons for everything that the keys do as well. */
export function Toolbar({ store, desk, zoom, setZoom }: Props) {
  const { can } = store.about.value;
  const { opacity, overlay } = store.layout.value;
  return (
    <div class="wb-toolbar" role="toolbar" aria-label="Painting">
      {can.annotate && (
        <div class="wb-joined" role="group" aria-label="Tool">
          {TOOLS.map(([tool, words, key]) => (
            <button
              key={tool}
              type="button"
              aria-pressed={store.tool.value === tool}
              title={`${words} (${key})`}
              data-testid={`tool-${tool}`}
              onClick={() => (store.tool.value = tool)}
            >
              {words}
            </button>
          ))}
        </div>
      )}
      {can.annotate && (
        <div class="wb-joined" role="group" aria-label="History">
          <button type="button" title="undo (z)" data-testid="undo" onClick={() => void desk.act("undo")}>↶<span class="wb-hidden">undo</span></button>
          <button type="button" title="redo (shift z)" data-testid="redo" onClick={() => void desk.act("redo")}>↷<span class="wb-hidden">redo</span></button>
        </div>
      )}
      {can.annotate && (
        <div class="wb-joined" role="group" aria-label="What a stroke says">
          {ROLES.map(([role, words, key]) => (
            <button
              key={role}
              type="button"
              class={`wb-role wb-role-${role}`}
              aria-pressed={store.role.value === role}
              title={`${role}: ${words} (${key})`}
              data-testid={`role-${role}`}
              onClick={() => (store.role.value = role)}
            >
              {role}
            </button>
          ))}
        </div>
      )}
      {can.annotate && (
        <div class="wb-joined" role="group" aria-label="All marks of the row">
          <button type="button" title="invert (i)" data-testid="invert" onClick={() => flip(store, desk, "invert")}>invert</button>
          <button type="button" title="clear the marks of this row (c)" data-testid="clear" onClick={() => flip(store, desk, "clear")}>clear</button>
        </div>
      )}
      <div class="wb-group" role="group" aria-label="View">
        {can.annotate && (
          <label title="radius of the brush in pixels ([ and ])">
            <span class="wb-small">size</span>
            <input
              type="range" min="0.5" max="40" step="0.5" value={store.brush.value} aria-label="radius of the brush in pixels"
              onInput={(event) => (store.brush.value = Number(event.currentTarget.value))}
            />
          </label>
        )}
        {can.explain && (
          <label title="opacity of the attribution">
            <span class="wb-small">heat</span>
            <input
              type="range" min="0" max="1" step="0.05" value={overlay ? opacity : 0} aria-label="opacity of the attribution"
              onInput={(event) => store.setLayout({ overlay: true, opacity: Number(event.currentTarget.value) })}
            />
          </label>
        )}
        <span class="wb-joined">
        <button type="button" title="smaller (-)" onClick={() => setZoom(Math.max(0.1, zoom / 1.4))}>−<span class="wb-hidden">zoom out</span></button>
        <button type="button" title="as large as fits (0)" onClick={() => setZoom(0)}>fit</button>
        <button type="button" title="larger (+)" onClick={() => setZoom(Math.min(40, zoom * 1.4))}>+<span class="wb-hidden">zoom in</span></button>
        </span>
      </div>
    </div>
  );
}
