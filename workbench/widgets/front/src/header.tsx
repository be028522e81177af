// Header: the filter line, how many rows it leaves, the views, slices, runs and help.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Help } from "./help";
import { Runs } from "./runs";
import { SlicesMenu } from "./slicing";
import { visible } from "./spans";
import type { Store, ViewName } from "./store";

const VIEWS: [ViewName, string, string][] = [
  ["gallery", "Gallery", "g"],
  ["table", "Table", "t"],
  ["map", "Map", "m"],
];

/** The line at the top of a view. */
export function Header({ store }: { store: Store }) {
  const { count, of, error } = store.shown.value;
  const draft = useSignal(store.filter.value);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    draft.value = store.filter.value;
  }, [store.filter.value]);
  const brushed = Object.keys(store.brushes.value).length;
  const changed = draft.value.trim() !== store.filter.value;
  return (
    <header class="wb-header">
      <button
        type="button"
        class="wb-narrow"
        aria-expanded={store.open.value === "facets"}
        data-testid="menu-facets"
        onClick={() => (store.open.value = store.open.value === "facets" ? "" : "facets")}
      >
        facets
      </button>
      <form
        class="wb-filter"
        onSubmit={(event) => {
          event.preventDefault();
          store.filter.put(draft.value.trim());
        }}
      >
        <label class="wb-filter-line">
          <span>filter</span>
          <input
            ref={input}
            value={draft.value}
            data-testid="filter"
            class={error === null ? "" : "wb-refused"}
            placeholder="confidence < 0.6 and label != prediction"
            spellcheck={false}
            autocomplete="off"
            aria-invalid={error !== null}
            aria-describedby={`${store.name}-filter-error`}
            onInput={(event) => (draft.value = event.currentTarget.value)}
            onKeyDown={(event) => event.key === "Escape" && ((draft.value = store.filter.value), event.currentTarget.blur())}
          />
        </label>
        {changed && <button type="submit" title="show the rows for which this holds (Enter)">apply</button>}
        {(store.filter.value !== "" || brushed > 0) && (
          <button
            type="button"
            class="wb-quiet"
            data-testid="clear-filter"
            onClick={() => {
              store.filter.put("");
              store.brushes.put({});
            }}
          >
            clear
          </button>
        )}
      </form>
      <output class="wb-count" data-testid="count" data-count={count}>
        {count === of ? `${of.toLocaleString("en")} rows` : `${count.toLocaleString("en")} of ${of.toLocaleString("en")}`}
      </output>
      <div class="wb-tabs" role="tablist" aria-label="Views">
        {VIEWS.filter(([view]) => view !== "map" || hasMap(store)).map(([view, words, key]) => (
          <button
            key={view}
            type="button"
            role="tab"
            id={`${store.name}-tab-${view}`}
            aria-controls={`${store.name}-view`}
            aria-selected={store.layout.value.view === view}
            title={`${words} (${key})`}
            data-testid={`view-${view}`}
            onClick={() => store.setLayout({ view })}
          >
            {words}
          </button>
        ))}
      </div>
      <nav class="wb-menus" aria-label="Menus">
        <Menu store={store} name="slices" words="slices"><SlicesMenu store={store} /></Menu>
        {store.about.value.can.train && <Menu store={store} name="runs" words="relaunch"><Runs store={store} /></Menu>}
        <Menu store={store} name="help" words="?" title="keys and their meaning (?)"><Help store={store} /></Menu>
      </nav>
      <p id={`${store.name}-filter-error`} class="wb-error" role="alert" data-testid="filter-error">{visible(error ?? "")}</p>
    </header>
  );
}

/** Whether there is a column whose rows have a place. */
export function hasMap(store: Store): boolean {
  return store.about.value.columns.some(({ kind }) => kind === "embedding");
}

function Menu({ store, name, words, title, children }: { store: Store; name: "slices" | "runs" | "help"; words: string; title?: string; children: preact.ComponentChildren }) {
  const open = store.open.value === name;
  const [button, popup] = [useRef<HTMLButtonElement>(null), useRef<HTMLDivElement>(null)];
  useEffect(() => {
    if (!open) return;
    const opener = button.current;
    popup.current?.focus();
    return () => opener?.focus(); // from where it was opened the keys go on
  }, [open]);
  return (
    <div class="wb-menu">
      <button
        ref={button}
        type="button"
        aria-expanded={open}
        aria-haspopup="dialog"
        title={title ?? words}
        data-testid={`menu-${name}`}
        onClick={() => (store.open.value = open ? "" : name)}
      >
        {words}{name === "help" ? "" : " ▾"}
      </button>
      {open && (
        <div
          ref={popup}
          class="wb-popup"
          role="dialog"
          tabIndex={-1}
          aria-label={words === "?" ? "help" : words}
          data-testid={`popup-${name}`}
          onKeyDown={(event) => {
            // Also from a field, whose keys are its own otherwise.
            if (event.key !== "Escape") return;
            event.stopPropagation();
            store.open.value = "";
          }}
        >
          {children}
        </div>
      )}
    </div>
  );
}
