// Curve of a run: task loss and penalty by step, and accuracy on validation rows with the marked regions refilled.

import type { RunFigures } from "./store";

const [WIDTH, HEIGHT] = [360, 96];

/** Two lines and some points, in their own units: losses share an axis, the accuracy is from 0 to 1. */
export function Curve({ run }: { run: RunFigures }) {
  const last = run.steps.at(-1);
  const losses = run.steps.map(([, task]) => task);
  const penalties = run.steps.map(([, , penalty]) => penalty);
  const most = Math.max(1e-6, ...losses.filter(Number.isFinite), ...penalties.filter(Number.isFinite));
  const x = (step: number) => (step / Math.max(1, run.of)) * (WIDTH - 8) + 4;
  const y = (share: number) => HEIGHT - 4 - Math.max(0, Math.min(1, share)) * (HEIGHT - 8);
  const line = (values: number[]) =>
    values.map((value, at) => `${at === 0 ? "M" : "L"}${x(run.steps[at]?.[0] ?? 0).toFixed(1)} ${y(value / most).toFixed(1)}`).join("");
  const check = run.checks.at(-1);
  const words =
    last === undefined
      ? "no step yet"
      : `step ${last[0]} of ${run.of}, loss ${last[1].toFixed(3)}, penalty ${last[2].toFixed(4)}${check === undefined ? "" : `, accuracy with marks refilled ${check[1].toFixed(3)}`}`;
  return (
    <figure class="wb-curve" data-testid="curve" data-steps={run.steps.length}>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={words}>
        {[0, 0.5, 1].map((share) => <line key={share} class="wb-axis" x1="4" x2={WIDTH - 4} y1={y(share)} y2={y(share)} />)}
        <path class="wb-line-task" d={line(losses)} />
        <path class="wb-line-penalty" d={line(penalties)} />
        <path class="wb-line-check" d={run.checks.map(([step, accuracy], at) => `${at === 0 ? "M" : "L"}${x(step)} ${y(accuracy)}`).join("")} />
        <path class="wb-dot-check" d={run.checks.map(([step, accuracy]) => `M${x(step)} ${y(accuracy)}h0`).join("")} />
      </svg>
      <figcaption>
        <span class="wb-keys">
          <span class="wb-key wb-key-task">loss</span>
          <span class="wb-key wb-key-penalty">penalty</span>
          <span class="wb-small">0 to {most.toPrecision(2)}</span>
          <span class="wb-key wb-key-check">accuracy, marks refilled</span>
          <span class="wb-small">0 to 1</span>
        </span>
        {words}
      </figcaption>
    </figure>
  );
}
