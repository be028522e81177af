// Foot: what is selected, what runs, and whether the last stroke is on the disk.

import type { Desk } from "./marks";
import { visible } from "./spans";
import type { Store } from "./store";

function waiting(late: number): string {
  if (late === 0) return "waiting for the kernel …";
  return `no answer from the kernel for ${late} s: it is busy, or gone; if it was restarted, run the cell again`;
}

/** The line at the bottom of a view; its height is the same whatever it says. */
export function Foot({ store, desk }: { store: Store; desk: Desk }) {
  const selected = store.selection.value.length;
  const jobs = store.jobs.value.filter((job) => job.state === "running");
  const over = store.jobs.value.filter((job) => job.state !== "running").at(-1);
  const saved = store.saved.value;
  // Words may be longer than the line: what can be pressed comes before them.
  return (
    <footer class="wb-foot">
      <span data-testid="selected" data-count={selected}>
        {selected.toLocaleString("en")} selected
        {selected > 0 && (
          <button type="button" class="wb-quiet" title="select nothing (Escape)" onClick={() => store.selection.put(new Uint32Array())}>
            none
          </button>
        )}
      </span>
      <span class="wb-foot-jobs" role="status" data-testid="jobs">
        {jobs.map((job) => (
          <span key={job.job} class="wb-job">
            {visible(job.words)}
            {job.of > 0 && <progress max={job.of} value={job.done} aria-label={visible(job.words)} />}
            <button type="button" class="wb-quiet" data-testid="stop" onClick={() => store.attempt(() => store.wire.ask("stop", { job: job.job }))}>
              stop
            </button>
          </span>
        ))}
        {store.gone.value && (
          <span class="wb-error" role="alert" data-testid="gone">The kernel of this view is gone. What was saved is on the disk; run the cell again to go on.</span>
        )}
        {jobs.length === 0 && store.busy.value && !store.gone.value && <span data-testid="waiting">{waiting(store.late.value)}</span>}
        {jobs.length === 0 && !store.busy.value && store.notice.value === "" && over !== undefined && over.state !== "done" && <span class="wb-error" title={visible(over.words)}>{visible(over.words)}</span>}
        {store.notice.value !== "" && !store.gone.value && (
          <span class="wb-error" role="alert" data-testid="notice" title={visible(store.notice.value)}>
            <button type="button" class="wb-quiet" data-testid="dismiss" onClick={() => store.say("")}>dismiss</button>
            {visible(store.notice.value)}
          </span>
        )}
      </span>
      <span class={`wb-saved wb-saved-${saved.state}`} role="status" data-testid="saved" data-state={saved.state} title={visible(saved.words)}>
        {saved.state === "failed" && saved.again === true && (
          <button type="button" onClick={() => desk.retry()} data-testid="retry">try again</button>
        )}
        {visible(saved.words)}
      </span>
    </footer>
  );
}
