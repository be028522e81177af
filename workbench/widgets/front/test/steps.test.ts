// Steps of a training are told in packets, and again to a page that is loaded anew: each is there once.

import assert from "node:assert/strict";
import { test } from "node:test";
import { together } from "../src/store.ts";

const steps = (...numbers: number[]): [number, number][] => numbers.map((number) => [number, number / 10]);

test("packets that follow each other are put end to end", () => {
  assert.deepEqual(together(steps(1, 2), steps(3, 4)), steps(1, 2, 3, 4));
  assert.deepEqual(together([], steps(1)), steps(1));
  assert.deepEqual(together(steps(1), []), steps(1));
});

test("what is told twice is there once, in order, whichever came first", () => {
  assert.deepEqual(together(steps(1, 2, 3), steps(1, 2, 3)), steps(1, 2, 3));
  assert.deepEqual(together(steps(5, 6), steps(1, 2, 3, 4, 5)), steps(1, 2, 3, 4, 5, 6));
});
