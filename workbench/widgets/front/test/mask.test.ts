import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Box, type Mask, type Point, bounds, copy, count, empty, equal, flood, fromCounts, invert, lasso, minus,
  rectangle, stroke, toCounts, union,
} from "../src/mask";
import { type Random, randomFrom } from "./random";

// What ImageRegion.from_mask(mask).counts gives in Python.
const IN_PYTHON: [number, number, string, number[]][] = [
  [2, 3, "000000", [6]],
  [2, 3, "111111", [0, 6]],
  [3, 4, "010000001000", [2, 2, 8]],
  [3, 4, "100000000001", [0, 1, 10, 1]],
  [4, 5, "00011111100110001101", [1, 1, 3, 3, 1, 5, 2, 1, 2, 1]],
];

const maskOf = (height: number, width: number, bits: string): Mask => ({
  height,
  width,
  data: Uint8Array.from(bits, Number),
});

function drawn(mask: Mask): string[] {
  return Array.from({ length: mask.height }, (_, row) =>
    Array.from(mask.data.subarray(row * mask.width, (row + 1) * mask.width), (bit) => (bit ? "#" : ".")).join(""),
  );
}

function randomMask(random: Random, most = 12): Mask {
  const mask = empty(random.whole(1, most), random.whole(1, most));
  const share = random.next();
  for (let i = 0; i < mask.data.length; i++) mask.data[i] = random.next() < share ? 1 : 0;
  return mask;
}

/** The mask in which exactly the pixels are marked whose centre holds a condition. */
function where(height: number, width: number, holds: (centre: Point) => boolean): Mask {
  const mask = empty(height, width);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      mask.data[row * width + column] = holds({ x: column + 0.5, y: row + 0.5 }) ? 1 : 0;
    }
  }
  return mask;
}

function distance(point: Point, a: Point, b: Point): number {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const square = dx * dx + dy * dy;
  const along = square ? Math.max(0, Math.min(1, ((point.x - a.x) * dx + (point.y - a.y) * dy) / square)) : 0;
  return Math.hypot(point.x - a.x - along * dx, point.y - a.y - along * dy);
}

function inside(box: Box | null, mask: Mask): boolean {
  const marked = bounds(mask);
  if (!marked) return true;
  if (!box) return false;
  return (
    marked.top >= box.top &&
    marked.left >= box.left &&
    marked.top + marked.height <= box.top + box.height &&
    marked.left + marked.width <= box.left + box.width
  );
}

test("run lengths are those that Python has for the same masks", () => {
  for (const [height, width, bits, counts] of IN_PYTHON) {
    assert.deepEqual(toCounts(maskOf(height, width, bits)), counts);
    assert.ok(equal(fromCounts(height, width, counts), maskOf(height, width, bits)));
  }
});

test("any mask comes back from its run lengths, and no run but the first is empty", () => {
  const random = randomFrom(1);
  for (let i = 0; i < 500; i++) {
    const mask = randomMask(random);
    const counts = toCounts(mask);
    assert.ok(equal(fromCounts(mask.height, mask.width, counts), mask));
    assert.ok(counts.slice(1).every((run) => run > 0));
  }
});

test("run lengths that do not sum to the picture are refused with both numbers", () => {
  assert.throws(() => fromCounts(2, 3, [4, 1]), /sum to 6; got 5/);
  assert.throws(() => fromCounts(2, 3, [7, -1]), RangeError);
});

test("empty runs amid others are read", () => {
  assert.ok(equal(fromCounts(1, 4, [1, 1, 0, 1, 1]), maskOf(1, 4, "0110")));
});

test("a brush of radius 0.5 marks one pixel wherever it is put down", () => {
  const random = randomFrom(2);
  for (let i = 0; i < 200; i++) {
    const mask = empty(6, 7);
    const at = i % 4 ? { x: random.next() * 7, y: random.next() * 6 } : { x: random.whole(0, 7), y: random.whole(0, 6) };
    stroke(mask, at.x, at.y, at.x, at.y, 0.5, 1);
    assert.deepEqual(bounds(mask), { top: Math.floor(at.y), left: Math.floor(at.x), height: 1, width: 1 });
  }
});

test("a stroke marks exactly the pixels whose centre is within its radius of the line", () => {
  const random = randomFrom(3);
  for (let i = 0; i < 400; i++) {
    const place = (): Point => ({ x: random.next() * 40 - 10, y: random.next() * 40 - 10 });
    const [a, b, radius] = [place(), i % 10 ? place() : place(), 1 + random.next() * 6];
    const mask = empty(20, 23);
    const box = stroke(mask, a.x, a.y, b.x, b.y, radius, 1);
    assert.ok(equal(mask, where(20, 23, (centre) => distance(centre, a, b) <= radius)));
    assert.ok(inside(box, mask));
  }
});

test("the thinnest stroke has no gap from its first to its last pixel", () => {
  const random = randomFrom(4);
  for (let i = 0; i < 300; i++) {
    const [x0, y0, x1, y1] = [random.next() * 30, random.next() * 30, random.next() * 30, random.next() * 30];
    const mask = empty(30, 30);
    stroke(mask, x0, y0, x1, y1, 0.5, 1);
    const waiting = [Math.floor(y0) * 30 + Math.floor(x0)];
    const reached = new Set(waiting);
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      for (const step of [-31, -30, -29, -1, 1, 29, 30, 31]) {
        const next = at + step;
        const apart = Math.abs((next % 30) - (at % 30));
        if (apart > 1 || !mask.data[next] || reached.has(next)) continue;
        reached.add(next);
        waiting.push(next);
      }
    }
    assert.equal(reached.size, count(mask));
    assert.ok(reached.has(Math.floor(y1) * 30 + Math.floor(x1)));
  }
});

test("a stroke with 0 erases what the same stroke marked", () => {
  const mask = empty(20, 20);
  stroke(mask, 2, 3, 17, 12, 2.5, 1);
  assert.ok(count(mask) > 0);
  stroke(mask, 2, 3, 17, 12, 2.5, 0);
  assert.equal(count(mask), 0);
});

test("a stroke outside the picture touches nothing", () => {
  const mask = empty(5, 5);
  assert.equal(stroke(mask, -9, -9, -4, 20, 2, 1), null);
  assert.equal(count(mask), 0);
});

test("a stroke on a large picture costs what it covers", () => {
  const mask = empty(2048, 2048);
  const start = performance.now();
  for (let i = 0; i < 1000; i++) stroke(mask, 100 + i, 200, 110 + i, 215, 8, 1);
  assert.ok(performance.now() - start < 1000, "1,000 strokes of 10 pixels took more than a second");
});

test("a rectangle has each pixel that it touches, and at least the one under the pointer", () => {
  const mask = empty(3, 5);
  rectangle(mask, 3.2, 1.9, 1.5, 0.1, 1);
  assert.deepEqual(drawn(mask), [".###.", ".###.", "....."]);
  const point = empty(3, 5);
  assert.deepEqual(rectangle(point, 2, 2, 2, 2, 1), { top: 2, left: 2, height: 1, width: 1 });
  assert.deepEqual(drawn(point), [".....", ".....", "..#.."]);
});

test("a rectangle is cut off at the picture, and one outside is nothing", () => {
  const mask = empty(2, 3);
  assert.deepEqual(rectangle(mask, -5, -5, 1, 9, 1), { top: 0, left: 0, height: 2, width: 1 });
  assert.deepEqual(drawn(mask), ["#..", "#.."]);
  assert.equal(rectangle(mask, 7, 0, 9, 1, 1), null);
});

test("a lasso fills what it goes round; where it goes round twice is outside", () => {
  const star = [[5, 0], [8, 9.5], [0, 3.5], [10, 3.5], [2, 9.5]].map(([x, y]) => ({ x: x ?? 0, y: y ?? 0 }));
  const mask = empty(10, 10);
  const box = lasso(mask, star, 1);
  assert.ok(inside(box, mask));
  assert.equal(mask.data[5 * 10 + 5], 0);
  assert.equal(mask.data[2 * 10 + 5], 1);
});

test("a lasso marks exactly the pixels whose centre lies inside by the even-odd rule", () => {
  const random = randomFrom(5);
  for (let i = 0; i < 200; i++) {
    const points = Array.from({ length: random.whole(3, 9) }, () => ({
      x: random.next() * 30 - 5,
      y: i % 3 ? random.next() * 30 - 5 : random.whole(0, 20) + 0.5,
    }));
    const expected = where(20, 20, ({ x, y }) => {
      let odd = false;
      points.forEach((p, at) => {
        const q = points[(at + 1) % points.length] as Point;
        if (p.y <= y !== q.y <= y && x < p.x + ((y - p.y) / (q.y - p.y)) * (q.x - p.x)) odd = !odd;
      });
      return odd;
    });
    const mask = empty(20, 20);
    lasso(mask, points, 1);
    assert.ok(equal(mask, expected));
  }
});

test("a lasso of two points marks nothing", () => {
  assert.equal(lasso(empty(4, 4), [{ x: 0, y: 0 }, { x: 3, y: 3 }], 1), null);
});

/** Colours of a picture drawn in letters: each letter is a grey. */
function greys(lines: string[]): Uint8ClampedArray {
  return new Uint8ClampedArray(
    lines.flatMap((line) => [...line].flatMap((letter) => [...Array(3).fill(letter.charCodeAt(0)), 255])),
  );
}

test("a fill goes over edges, not over corners, and stops at other colours", () => {
  const mask = empty(4, 5);
  const box = flood(mask, greys(["aazza", "azzaa", "zzaaa", "aaaza"]), 4, 1, 0, 1);
  assert.deepEqual(drawn(mask), ["....#", "...##", "..###", "###.#"]);
  assert.deepEqual(box, { top: 0, left: 0, height: 4, width: 5 });
});

test("a fill takes colours as near to the first one as its tolerance, however far it has come", () => {
  const mask = empty(1, 6);
  flood(mask, greys(["abcdef"]), 0, 0, 3, 1);
  assert.deepEqual(drawn(mask), ["####.."]);
});

test("a fill erases with 0, and from outside does nothing", () => {
  const mask = maskOf(1, 3, "111");
  flood(mask, greys(["aab"]), 0, 0, 0, 0);
  assert.deepEqual(drawn(mask), ["..#"]);
  assert.equal(flood(mask, greys(["aab"]), 3, 0, 0, 1), null);
});

test("a fill over a picture of another size is refused", () => {
  assert.throws(() => flood(empty(2, 2), greys(["ab"]), 0, 0, 0, 1), /needs 16 numbers of colour; got 8/);
});

test("a fill of four million pixels ends", () => {
  const mask = empty(2048, 2048);
  flood(mask, new Uint8ClampedArray(4 * 2048 * 2048), 1000, 1000, 0, 1);
  assert.equal(count(mask), 2048 * 2048);
});

test("union, minus and inverting agree with sets of pixels", () => {
  const random = randomFrom(6);
  for (let i = 0; i < 100; i++) {
    const one = randomMask(random);
    const other = empty(one.height, one.width);
    for (let at = 0; at < other.data.length; at++) other.data[at] = random.whole(0, 2);
    const all = copy(one);
    invert(all);
    assert.equal(count(all), one.data.length - count(one));
    assert.equal(count(union(one, other)), count(minus(one, other)) + count(other));
    assert.equal(count(minus(union(one, other), one)), count(minus(other, one)));
    assert.ok(equal(minus(one, one), empty(one.height, one.width)));
  }
});

test("masks of two sizes are not put together", () => {
  assert.throws(() => union(empty(1, 2), empty(2, 1)), /got 1×2 and 2×1 pixels/);
  assert.ok(!equal(empty(1, 2), empty(2, 1)));
});

test("a copy changes alone", () => {
  const mask = empty(2, 2);
  invert(copy(mask));
  assert.equal(count(mask), 0);
});

test("the bounds of a mask hold all that is marked and no more", () => {
  assert.equal(bounds(empty(3, 3)), null);
  assert.deepEqual(bounds(maskOf(3, 4, "000001000010")), { top: 1, left: 1, height: 2, width: 2 });
});
