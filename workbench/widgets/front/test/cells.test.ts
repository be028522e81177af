import assert from "node:assert/strict";
import { test } from "node:test";
import { captionOf, numberWords, wordsOf } from "../src/cells";
import { binsOf } from "../src/facets";
import { legible } from "../src/spans";
import type { Cell } from "../src/wire";

test("a cell of each kind is said in words, and what hides in it is seen", () => {
  const told: [Cell | undefined, string][] = [
    [null, "–"], [undefined, "–"], [true, "yes"], [false, "no"], [3, "3"], [0.123456, "0.1235"], ["a\u202eb", "a\\u202eb"],
    [{ text: "long", length: 4000 }, "long (4,000 characters)"], [{ lazy: true }, "not computed"],
    [{ failed: "<b>" }, "failed: <b>"], [{ label: "cat", top: [["cat", 0.936]] }, "cat 0.94"],
    [{ label: "cat", top: [["cat", "NaN"]] }, "cat NaN"], [{ label: null, top: [] }, "–"], [{ spark: [1, null], of: 512 }, "512 numbers"],
  ]; // prettier-ignore
  for (const [cell, words] of told) assert.equal(wordsOf(cell), words);
});

test("numbers have about four digits, whole ones all of theirs", () => {
  const told: [number, string][] = [[0, "0"], [-5, "-5"], [123456, "123,456"], [1e12, "1.000e+12"], [1 / 3, "0.3333"], [1e-9, "1.00e-9"], [123456.7, "1.23e+5"]];
  for (const [value, words] of told) assert.equal(numberWords(value), words);
});

test("a caption says the label, what was predicted, and whether they differ", () => {
  const cat: Cell = { label: "cat", top: [["cat", 0.9]] };
  const said = (label: Cell, prediction: Cell) => captionOf({ label, prediction }, ["label", "prediction"]);
  assert.deepEqual([said("cat", cat).words, said("cat", cat).wrong], ["cat 0.90", false]);
  assert.deepEqual([said("dog", cat).words, said("dog", cat).wrong], ["dog → cat 0.90", true]);
  assert.equal(said(null, cat).wrong, false);
  assert.equal(said(3, { label: "3", top: [["3", 1]] }).wrong, false); // labels may be numbers
  assert.equal(captionOf({}, ["label"]).words, "");
});

test("the bins of a range are found wherever its ends are", () => {
  const edges = [0, 10, 20, 30];
  assert.deepEqual(binsOf(edges, null), [0, 2]);
  assert.deepEqual(binsOf(edges, { low: 10, high: 20 }), [1, 1]);
  assert.deepEqual(binsOf(edges, { low: 13.5, high: 1e9 }), [1, 2]);
  assert.deepEqual(binsOf(edges, { low: -5, high: -1 }), [0, 0]);
  assert.deepEqual(binsOf(edges, { low: 50, high: 60 }), [2, 2]);
});

test("a text is cut where it has too much, and never within a character", () => {
  assert.equal(legible("short"), "short");
  assert.equal(legible("x".repeat(20), 10), "x".repeat(10));
  assert.equal(legible("x".repeat(9) + "😀y", 10), "x".repeat(9));
  assert.equal(legible("a\u202e".repeat(9), 100, 3), "a\u202ea\u202ea\u202ea");
});
