import assert from "node:assert/strict";
import { test } from "node:test";
import { type Spot, joined, within } from "../src/lasso";
import { randomFrom } from "./random";

/** The even-odd rule as it is told: how many sides a ray to the right crosses. */
function inside(corners: Spot[], across: number, down: number): boolean {
  let crossed = 0;
  corners.forEach(([x, y], at) => {
    const [otherX, otherY] = corners.at(at - 1) as Spot;
    if (y > down !== otherY > down && across < x + ((down - y) / (otherY - y)) * (otherX - x)) crossed += 1;
  });
  return crossed % 2 === 1;
}

test("the points within any line are those that the even-odd rule says", () => {
  const { next } = randomFrom(3);
  const points = 800;
  const x = Float32Array.from({ length: points }, () => 2 * next() - 1);
  const y = Float32Array.from({ length: points }, () => 2 * next() - 1);
  for (let round = 0; round < 60; round++) {
    const corners: Spot[] = Array.from({ length: 3 + Math.floor(40 * next()) }, () => [3 * next() - 1.5, 3 * next() - 1.5]);
    const expected = [...x.keys()].filter((row) => inside(corners, x[row] as number, y[row] as number));
    assert.deepEqual([...within(corners, x, y, null)], expected);
  }
});

test("points out of sight are not selected, nor any by a line without breadth", () => {
  const [x, y] = [Float32Array.of(0, 0.5, 3), Float32Array.of(0, 0.5, 0)];
  const square: Spot[] = [[-1, -1], [1, -1], [1, 1], [-1, 1]];
  assert.deepEqual([...within(square, x, y, null)], [0, 1]);
  assert.deepEqual([...within(square, x, y, Uint8Array.of(0, 1, 1))], [1]);
  assert.deepEqual([...within([[-1, 0], [1, 0], [-1, 0]], x, y, null)], []);
  assert.deepEqual([...within([[0, 0], [0, 0], [0, 0]], x, y, null)], []);
});

test("rows are taken instead of what was selected, added to it, or taken away", () => {
  const before = Uint32Array.of(2, 10);
  assert.deepEqual([...joined(before, Uint32Array.of(9), "instead")], [9]);
  assert.deepEqual([...joined(before, Uint32Array.of(9, 10), "add")], [2, 9, 10]);
  assert.deepEqual([...joined(before, Uint32Array.of(9, 10), "remove")], [2]);
});
