// Reach: one stroke, many rows: how many would get it, what they look like, and the writing.

import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Thumbs } from "./nearest";
import type { Desk } from "./marks";
import { visible } from "./spans";
import type { Store } from "./store";
import { told } from "./wire";

const WAYS: [string, string][] = [
  ["template", "rows alike there"],
  ["cluster", "its cluster of explanations"],
  ["neighbours", "its nearest rows"],
  ["all", "all rows"],
];

interface Preview {
  token: number;
  count: number;
  sources: number;
  rows: number[];
  words: string;
}

/** Asks how far the strokes reach, shows it, and writes it when told to. */
export function Reach({ store, desk }: { store: Store; desk: Desk }) {
  const way = useSignal("template");
  const preview = useSignal<Preview | null>(null);
  const working = useSignal(false);
  // A stroke more, and the preview is of yesterday.
  useSignalEffect(() => {
    void store.marked.value;
    preview.value = null;
  });
  useEffect(() => {
    preview.value = null;
  }, [desk.looked.value?.row]);
  const texts = store.about.value.size === null;
  const clustered = store.about.value.columns.some(({ name }) => name === "cluster");
  const ways = WAYS.filter(([name]) => (name !== "cluster" || clustered) && (!texts || name === "template"));

  async function ask() {
    working.value = true;
    try {
      const { ok } = await store.wire.ask<Preview>("reach", { to: way.value, role: store.role.value }, "reach");
      preview.value = ok;
    } catch (error) {
      told(error, store.say);
    }
    working.value = false;
  }

  async function write() {
    const now = preview.value;
    if (now === null) return;
    await desk.act("spread", { token: now.token });
    preview.value = null;
  }

  return (
    <div class="wb-reach" role="group" aria-label="Apply to rows like this">
      <button type="button" onClick={() => void ask()} disabled={working.value} data-testid="reach" title="apply the strokes to rows like these: a look first (a)">
        apply to …
      </button>
      <select value={way.value} aria-label="which rows" onChange={(event) => ((way.value = event.currentTarget.value), (preview.value = null))} data-testid="reach-way">
        {ways.map(([name, words]) => <option key={name} value={name}>{words}</option>)}
      </select>
      {working.value && <span role="status">looking …</span>}
      {preview.value !== null && (
        <div class="wb-preview" data-testid="preview">
          <p>{visible(preview.value.words)}</p>
          <div class="wb-group">
            <button type="button" class="wb-primary" disabled={preview.value.count === 0} onClick={() => void write()} data-testid="spread">
              write to {preview.value.count.toLocaleString("en")} rows
            </button>
            <button type="button" onClick={() => (preview.value = null)}>not now</button>
          </div>
          <Thumbs store={store} rows={preview.value.rows} name="preview" />
        </div>
      )}
    </div>
  );
}
