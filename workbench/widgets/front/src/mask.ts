// Masks: which pixels of a picture are marked. The functions that draw put a value, 1 or 0, into their mask and return
// the box that they touched: a stroke over a picture of 2048×2048 pixels costs only what it
// covers.
//
// Points are in pixels of the picture: pixel (row, column) covers [column, column + 1) × [row, row + 1).

export interface Mask {
  readonly height: number;
  readonly width: number;
  readonly data: Uint8Array; // row by row, 0 or 1
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Box {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/** Red, green, blue and opacity of each pixel, as ImageData has them. */
export type Pixels = Uint8ClampedArray | Uint8Array;

const SLACK = 1e-9; // a pixel whose centre lies just on the edge is in

export function empty(height: number, width: number): Mask {
  return { height, width, data: new Uint8Array(height * width) };
}

export function copy(mask: Mask): Mask {
  return { ...mask, data: mask.data.slice() };
}

/**
 * Draw a straight line with a round brush. Marked are pixels whose centre the brush covers.
 *
 * A brush under one pixel in radius could pass between all centres, so it goes from centre to centre: radius 0.5 marks
 * one pixel at a point, and along a line leaves no gap.
 */
export function stroke(
  mask: Mask, x0: number, y0: number, x1: number, y1: number, radius: number, value: number,
): Box | null {
  const place = (at: number): number => (radius < 1 ? Math.floor(at) + 0.5 : at);
  const [a, b] = [{ x: place(x0), y: place(y0) }, { x: place(x1), y: place(y1) }];
  const reach = Math.max(radius, 0.5);
  const rows = within(Math.min(a.y, b.y) - reach, Math.max(a.y, b.y) + reach, mask.height);
  const columns = within(Math.min(a.x, b.x) - reach, Math.max(a.x, b.x) + reach, mask.width);
  const length = Math.hypot(b.x - a.x, b.y - a.y);
  const across = length ? { x: (-(b.y - a.y) / length) * reach, y: ((b.x - a.x) / length) * reach } : { x: 0, y: 0 };
  const band = [
    { x: a.x + across.x, y: a.y + across.y },
    { x: b.x + across.x, y: b.y + across.y },
    { x: b.x - across.x, y: b.y - across.y },
    { x: a.x - across.x, y: a.y - across.y },
  ];
  for (let row = rows.first; row < rows.end; row++) {
    // What the brush covers is convex: in each row it is one interval, made of two discs and the band between.
    const y = row + 0.5;
    let low = Infinity;
    let high = -Infinity;
    for (const end of [a, b]) {
      const square = reach * reach - (y - end.y) ** 2;
      if (square < -SLACK) continue;
      const half = Math.sqrt(Math.max(0, square));
      low = Math.min(low, end.x - half);
      high = Math.max(high, end.x + half);
    }
    for (const [p, q] of edges(band)) {
      if (p.y === q.y || y < Math.min(p.y, q.y) || y > Math.max(p.y, q.y)) continue;
      const x = p.x + ((y - p.y) / (q.y - p.y)) * (q.x - p.x);
      low = Math.min(low, x);
      high = Math.max(high, x);
    }
    fillRow(mask, row, low, high, value);
  }
  return boxOf(rows, columns);
}

/** Fill the rectangle between two corners: every pixel that it touches, at least one. */
export function rectangle(mask: Mask, x0: number, y0: number, x1: number, y1: number, value: number): Box | null {
  const rows = touched(y0, y1, mask.height);
  const columns = touched(x0, x1, mask.width);
  const box = boxOf(rows, columns);
  if (!box) return null;
  for (let row = rows.first; row < rows.end; row++) {
    mask.data.fill(value, row * mask.width + columns.first, row * mask.width + columns.end);
  }
  return box;
}

/** Fill a closed polygon by the even-odd rule: pixels whose centre lies inside. */
export function lasso(mask: Mask, points: readonly Point[], value: number): Box | null {
  if (points.length < 3) return null;
  const range = (of: readonly number[], size: number): Range =>
    within(of.reduce((a, b) => Math.min(a, b)), of.reduce((a, b) => Math.max(a, b)), size);
  const rows = range(points.map((point) => point.y), mask.height);
  const columns = range(points.map((point) => point.x), mask.width);
  const crossings: number[][] = Array.from({ length: Math.max(0, rows.end - rows.first) }, () => []);
  for (const [p, q] of edges(points)) {
    const spanned = within(Math.min(p.y, q.y), Math.max(p.y, q.y), mask.height);
    for (let row = spanned.first; row < spanned.end; row++) {
      const y = row + 0.5;
      if (p.y <= y === q.y <= y) continue; // a corner that lies in a row counts once
      crossings[row - rows.first]?.push(p.x + ((y - p.y) / (q.y - p.y)) * (q.x - p.x));
    }
  }
  crossings.forEach((found, index) => {
    found.sort((a, b) => a - b);
    for (let i = 0; i + 1 < found.length; i += 2) {
      fillRow(mask, rows.first + index, found[i] ?? 0, found[i + 1] ?? 0, value);
    }
  });
  return boxOf(rows, columns);
}

/**
 * Fill from a pixel over all pixels that are joined to it by their edges and differ from its colour by `tolerance`
 * (0..255) at most, in each of red, green, blue and opacity.
 */
export function flood(
  mask: Mask, pixels: Pixels, column: number, row: number, tolerance: number, value: number,
): Box | null {
  const { height, width } = mask;
  if (pixels.length !== 4 * height * width) {
    throw new RangeError(
      `A mask of ${height}×${width} pixels needs ${4 * height * width} numbers of colour; got ${pixels.length}.`,
    );
  }
  const [top, left] = [Math.floor(row), Math.floor(column)];
  if (top < 0 || left < 0 || top >= height || left >= width) return null;
  const start = top * width + left;
  const channel = (index: number, which: number): number => pixels[index * 4 + which] as number;
  const [red, green, blue, opacity] = [channel(start, 0), channel(start, 1), channel(start, 2), channel(start, 3)];
  const alike = (index: number): boolean =>
    Math.abs(channel(index, 0) - red) <= tolerance &&
    Math.abs(channel(index, 1) - green) <= tolerance &&
    Math.abs(channel(index, 2) - blue) <= tolerance &&
    Math.abs(channel(index, 3) - opacity) <= tolerance;
  const seen = new Uint8Array(height * width);
  const waiting: number[] = [start];
  seen[start] = 1;
  let [first, end, lowest, highest] = [top, top + 1, left, left];
  const visit = (index: number): void => {
    if (seen[index] || !alike(index)) return;
    seen[index] = 1;
    waiting.push(index);
  };
  for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
    const y = Math.floor(index / width);
    const x = index - y * width;
    mask.data[index] = value;
    if (y < first) first = y;
    if (y >= end) end = y + 1;
    if (x < lowest) lowest = x;
    if (x > highest) highest = x;
    if (x > 0) visit(index - 1);
    if (x < width - 1) visit(index + 1);
    if (y > 0) visit(index - width);
    if (y < height - 1) visit(index + width);
  }
  return { top: first, left: lowest, height: end - first, width: highest + 1 - lowest };
}

export function invert(mask: Mask): Box {
  for (let i = 0; i < mask.data.length; i++) mask.data[i] = mask.data[i] ? 0 : 1;
  return { top: 0, left: 0, height: mask.height, width: mask.width };
}

export function union(one: Mask, other: Mask): Mask {
  sameSize(one, other);
  return { ...one, data: one.data.map((value, i) => value | (other.data[i] as number)) };
}

export function minus(one: Mask, other: Mask): Mask {
  sameSize(one, other);
  return { ...one, data: one.data.map((value, i) => value & ~(other.data[i] as number)) };
}

export function count(mask: Mask): number {
  let marked = 0;
  for (let i = 0; i < mask.data.length; i++) marked += mask.data[i] as number;
  return marked;
}

export function equal(one: Mask, other: Mask): boolean {
  if (one.height !== other.height || one.width !== other.width) return false;
  return one.data.every((value, i) => value === other.data[i]);
}

/** The smallest box that has all that is marked; null if nothing is. */
export function bounds(mask: Mask): Box | null {
  const { height, width, data } = mask;
  let [top, bottom, left, right] = [-1, -1, width, -1];
  for (let row = 0; row < height; row++) {
    const line = data.subarray(row * width, (row + 1) * width);
    const first = line.indexOf(1);
    if (first < 0) continue;
    if (top < 0) top = row;
    bottom = row;
    left = Math.min(left, first);
    right = Math.max(right, line.lastIndexOf(1));
  }
  return top < 0 ? null : { top, left, height: bottom + 1 - top, width: right + 1 - left };
}

/** The run lengths that `ImageRegion` has for the mask: no run but the first is empty. */
export function toCounts(mask: Mask): number[] {
  const { height, width, data } = mask;
  const box = bounds(mask);
  const ends: number[] = []; // where marked runs begin and end, counted down the columns
  if (box) {
    for (let column = box.left; column < box.left + box.width; column++) {
      let marked = 0;
      for (let row = box.top; row <= box.top + box.height; row++) {
        const value = row < box.top + box.height ? (data[row * width + column] as number) : 0;
        if (value === marked) continue;
        marked = value;
        const place = column * height + row;
        // A run may go on from the foot of one column to the head of the next.
        if (value && ends.at(-1) === place) ends.pop();
        else ends.push(place);
      }
    }
  }
  const total = height * width;
  if (ends.at(-1) !== total) ends.push(total);
  return ends.map((end, i) => end - (i ? (ends[i - 1] as number) : 0));
}

/** The mask of run lengths down the columns, unmarked first. */
export function fromCounts(height: number, width: number, counts: readonly number[]): Mask {
  const mask = empty(height, width);
  const total = counts.reduce((sum, run) => sum + run, 0);
  if (total !== height * width || !counts.every((run) => Number.isInteger(run) && run >= 0)) {
    throw new RangeError(`Run lengths of a picture of ${height}×${width} must sum to ${height * width}; got ${total}.`);
  }
  let place = 0;
  counts.forEach((run, i) => {
    for (let at = place; i % 2 && at < place + run; at++) {
      const column = Math.floor(at / height);
      mask.data[(at - column * height) * width + column] = 1;
    }
    place += run;
  });
  return mask;
}

interface Range {
  readonly first: number;
  readonly end: number;
}

/** Rows (or columns) whose centre lies in [low, high]. */
function within(low: number, high: number, size: number): Range {
  return {
    first: Math.max(0, Math.ceil(low - 0.5 - SLACK)),
    end: Math.min(size, Math.floor(high - 0.5 + SLACK) + 1),
  };
}

/** Rows (or columns) that an interval touches, at least one. */
function touched(one: number, other: number, size: number): Range {
  const first = Math.floor(Math.min(one, other));
  return { first: Math.max(0, first), end: Math.min(size, Math.max(first + 1, Math.ceil(Math.max(one, other)))) };
}

function boxOf(rows: Range, columns: Range): Box | null {
  if (rows.end <= rows.first || columns.end <= columns.first) return null;
  return { top: rows.first, left: columns.first, height: rows.end - rows.first, width: columns.end - columns.first };
}

function fillRow(mask: Mask, row: number, low: number, high: number, value: number): void {
  const { first, end } = within(low, high, mask.width);
  if (first < end) mask.data.fill(value, row * mask.width + first, row * mask.width + end);
}

function edges(points: readonly Point[]): [Point, Point][] {
  return points.map((point, i) => [point, points[(i + 1) % points.length] as Point]);
}

function sameSize(one: Mask, other: Mask): void {
  if (one.height === other.height && one.width === other.width) return;
  throw new RangeError(
    `Masks must have one size; got ${one.height}×${one.width} and ${other.height}×${other.width} pixels.`,
  );
}
