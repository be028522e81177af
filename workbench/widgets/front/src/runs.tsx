// Relaunch: a fine-tune that obeys the marks: its settings, its live curve, what it fixed and broke, keep or discard.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Changes } from "./changes";
import { Curve } from "./curve";
import { Thumbs } from "./nearest";
import type { Compared, RunFigures, Store } from "./store";
import { told } from "./wire";

/** The menu of fine-tunes: the form, and the runs of this view, the last first. */
export function Runs({ store }: { store: Store }) {
  const { losses, weights } = store.about.value;
  const loss = useSignal(losses[0] ?? "");
  const part = useSignal(weights[0] ?? "all");
  const length = useSignal("120");
  const unit = useSignal<"steps" | "minutes">("steps");
  const running = store.jobs.value.some((job) => job.kind === "train" && job.state === "running");
  const start = () =>
    store.attempt(() =>
      store.wire.ask("train", {
        loss: loss.value, weights: part.value,
        steps: unit.value === "steps" ? Number(length.value) : null,
        minutes: unit.value === "minutes" ? Number(length.value) : null,
      }),
    );
  return (
    <div class="wb-runs">
      <form class="wb-run-form" onSubmit={(event) => (event.preventDefault(), start())}>
        <label><span class="wb-small">obey by</span>
          <select value={loss.value} onChange={(event) => (loss.value = event.currentTarget.value)} data-testid="loss">
            {losses.map((each) => <option key={each} value={each}>{each}</option>)}
          </select>
        </label>
        <label><span class="wb-small">train</span>
          <select value={part.value} onChange={(event) => (part.value = event.currentTarget.value)} data-testid="weights">
            {weights.map((each) => <option key={each} value={each}>{each === "all" ? "all weights" : each}</option>)}
          </select>
        </label>
        <label><span class="wb-small">for</span>
          <input class="wb-number" type="number" min="0" step="any" required value={length.value} aria-label="how long" data-testid="length" onInput={(event) => (length.value = event.currentTarget.value)} />
        </label>
        <select value={unit.value} aria-label="unit" data-testid="unit" onChange={(event) => (unit.value = event.currentTarget.value as "steps" | "minutes")}>
          <option>steps</option>
          <option>minutes</option>
        </select>
        <button type="submit" class="wb-primary" disabled={running} data-testid="train">{running ? "training …" : "relaunch"}</button>
      </form>
      {[...store.runs.value].reverse().map((run) => <Run key={run.job} store={store} run={run} />)}
      {store.runs.value.length === 0 && (
        <p class="wb-small">Mark what must not matter, apply it to rows like it, then relaunch: a copy of the model is trained to obey, and compared on rows that it has not seen.</p>
      )}
    </div>
  );
}

function Run({ store, run }: { store: Store; run: RunFigures }) {
  const job = store.jobs.value.find((each) => each.job === run.job);
  const going = job?.state === "running";
  return (
    <section class="wb-run" data-testid="run" data-state={job?.state ?? "done"} aria-label={`run ${run.job}`}>
      <Curve run={run} />
      <p class="wb-group wb-run-words">
        <span>{job?.words ?? ""}</span>
        {going && <button type="button" onClick={() => store.attempt(() => store.wire.ask("stop", { job: run.job }))} data-testid="stop-run">stop, keep the best so far</button>}
      </p>
      {run.compared !== null && <Outcome store={store} compared={run.compared} settled={run.settled} />}
    </section>
  );
}

/** What a run changed, and whether it is kept. */
function Outcome({ store, compared, settled }: { store: Store; compared: Compared; settled: RunFigures["settled"] }) {
  const which = useSignal<"fixed" | "broken">("fixed");
  const rows = useSignal<number[]>([]);
  const gone = settled === "discarded";
  useEffect(() => {
    if (gone) return;
    store.wire.ask<{ rows: number[] }>("fixed", { job: compared.job, which: which.value }, "fixed").then(
      ({ ok }) => (rows.value = ok.rows),
      (error: unknown) => told(error, store.say),
    );
  }, [which.value, compared.job, gone]);
  const settle = (action: "keep" | "discard") => store.attempt(() => store.wire.ask(action, { job: compared.job }));
  return (
    <div class="wb-outcome" data-testid="outcome">
      <table class="wb-figures">
        <thead><tr><th scope="col">on rows not seen</th><th scope="col" class="wb-end">before</th><th scope="col" class="wb-end">after</th></tr></thead>
        <tbody>
          {compared.figures.map(([words, before, after]) => (
            <tr key={words}><th scope="row">{words}</th><td class="wb-end">{figure(before, isShare(words, before, after))}</td><td class="wb-end">{figure(after, isShare(words, before, after))}</td></tr>
          ))}
        </tbody>
      </table>
      <div class="wb-group" role="group" aria-label="rows that changed">
        {(["fixed", "broken"] as const).map((each) => (
          <button key={each} type="button" aria-pressed={which.value === each} onClick={() => (which.value = each)} data-testid={`show-${each}`}>
            {compared[each].toLocaleString("en")} {each}
          </button>
        ))}
        <button
          type="button"
          disabled={rows.value.length === 0}
          title={`select these ${rows.value.length} rows`}
          data-testid="select-changed"
          onClick={() => store.selection.put(Uint32Array.from([...rows.value].sort((a, b) => a - b)))}
        >
          select
        </button>
      </div>
      <Thumbs store={store} rows={rows.value.slice(0, 24)} name="fixed" />
      {settled === "" && <Changes store={store} job={compared.job} />}
      {settled === "" ? (
        <div class="wb-group wb-settle">
          <button type="button" class="wb-primary" onClick={() => settle("keep")} data-testid="keep">keep this model</button>
          <button type="button" onClick={() => settle("discard")} data-testid="discard">discard</button>
        </div>
      ) : (
        <p data-testid="settled">{gone ? "Discarded: the model is as it was." : "Kept: predictions and maps are now of this model."}</p>
      )}
    </div>
  );
}

function figure(value: number | null, share: boolean): string {
  if (value === null) return "–";
  return share ? `${(100 * value).toFixed(1)}%` : value.toPrecision(3);
}

/** Whether a figure is told in percent: both sides alike, and nothing that has a unit. */
function isShare(words: string, ...sides: (number | null)[]): boolean {
  return !words.endsWith("nats") && sides.every((value) => value === null || Math.abs(value) <= 1);
}
