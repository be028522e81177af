// Cells: the value of a row in one column, in words; text from data is text, whatever it says.

import { visible } from "./spans";
import type { Cell } from "./wire";

export interface Caption {
  /** All that is said. */
  words: string;
  /** The same without the number, for where there is little room. */
  short: string;
  wrong: boolean;
}

/** Says a cell in a few words. */
export function wordsOf(cell: Cell | undefined): string {
  if (cell === undefined || cell === null) return "–";
  if (typeof cell === "number") return numberWords(cell);
  if (typeof cell === "boolean") return cell ? "yes" : "no";
  if (typeof cell === "string") return visible(cell);
  if ("lazy" in cell) return "not computed";
  if ("failed" in cell) return `failed: ${visible(cell.failed)}`;
  if ("text" in cell) return `${visible(cell.text)} (${cell.length.toLocaleString("en")} characters)`;
  if ("label" in cell) return cell.label === null ? "–" : `${visible(cell.label)} ${share(cell.top[0]?.[1] ?? 0, 2)}`;
  return `${cell.of} numbers`;
}

function share(value: number | string, digits: number): string {
  return typeof value === "number" ? value.toFixed(digits) : visible(value);
}

/** Says a number with about four digits. */
export function numberWords(value: number): string {
  if (Number.isInteger(value)) return Math.abs(value) < 1e9 ? value.toLocaleString("en") : value.toExponential(3);
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

/** Says a row beneath its picture: "seven → one 0.93" where they differ, else "seven 0.93". */
export function captionOf(cells: Record<string, Cell>, columns: string[]): Caption {
  let label: string | null = null;
  for (const column of columns) {
    const cell = cells[column];
    if ((typeof cell === "string" || typeof cell === "number" || typeof cell === "boolean") && label === null) label = String(cell);
    if (typeof cell === "object" && cell !== null && "text" in cell && label === null) label = cell.text;
    if (typeof cell === "object" && cell !== null && "label" in cell) {
      const answer = visible(cell.label ?? "–");
      if (label === null || cell.label === label) return { words: wordsOf(cell), short: answer, wrong: false };
      return { words: `${visible(label)} → ${wordsOf(cell)}`, short: `${visible(label)} → ${answer}`, wrong: true };
    }
  }
  const words = label === null ? "" : visible(label);
  return { words, short: words, wrong: false };
}

/** A cell as it stands in a table. */
export function CellView({ cell }: { cell: Cell | undefined }) {
  if (typeof cell === "object" && cell !== null && "spark" in cell) return <Spark values={cell.spark} of={cell.of} />;
  if (typeof cell === "object" && cell !== null && "top" in cell) return <Bars top={cell.top} />;
  return <bdi class="wb-cell">{wordsOf(cell)}</bdi>;
}

function Spark({ values, of }: { values: (number | null)[]; of: number }) {
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(0, ...known), Math.max(0, ...known)];
  const y = (value: number) => 15 - ((value - low) / (high - low || 1)) * 14;
  const path = values.map((value, at) => (value === null ? "" : `M${at} ${y(0)}V${y(value)}`)).join("");
  return (
    <svg class="wb-spark" viewBox={`-1 0 ${values.length + 1} 16`} preserveAspectRatio="none" role="img" aria-label={`${of} numbers from ${numberWords(low)} to ${numberWords(high)}`}>
      <path d={path} />
    </svg>
  );
}

function Bars({ top }: { top: [string, number | string][] }) {
  return (
    <span class="wb-bars">
      {top.slice(0, 3).map(([name, chance]) => (
        <span key={name} class="wb-bar" title={`${visible(name)} ${share(chance, 3)}`}>
          <span class="wb-bar-fill" style={{ width: `${typeof chance === "number" ? Math.round(Math.max(0, Math.min(1, chance)) * 100) : 0}%` }} />
          <bdi class="wb-bar-name">{visible(name)}</bdi>
          <span class="wb-bar-share">{share(chance, 2)}</span>
        </span>
      ))}
    </span>
  );
}
