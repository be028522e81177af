import assert from "node:assert/strict";
import { test } from "node:test";
import { type Span, count, equal, minus, parts, pieces, rulerOf, tidied, union, visible } from "../src/spans";
import { type Random, randomFrom } from "./random";

function randomText(random: Random): string {
  const letters = ["a", "é", "e\u0301", "中", "😀", "𝒳", "\ud83d", "\ude00", "\u202e", "\n", "👨\u200d👩"];
  return Array.from({ length: random.whole(0, 12) }, () => letters[random.whole(0, letters.length)]).join("");
}

function randomSpans(random: Random, most = 20): Span[] {
  return Array.from({ length: random.whole(0, 6) }, () => {
    const start = random.whole(0, most);
    return [start, start + random.whole(0, 6)] as const;
  });
}

const placesOf = (spans: readonly Span[]): Set<number> =>
  new Set(spans.flatMap(([start, end]) => Array.from({ length: Math.max(0, end - start) }, (_, i) => start + i)));

test("places are counted in code points, as Python counts them", () => {
  const ruler = rulerOf("a😀b");
  assert.equal(ruler.length, 3);
  assert.deepEqual([0, 1, 2, 3].map(ruler.toUnits), [0, 1, 3, 4]);
  assert.deepEqual([0, 1, 2, 3, 4].map(ruler.toPoints), [0, 1, 1, 2, 3]);
});

test("every place of any text goes to units and back", () => {
  const random = randomFrom(1);
  for (let i = 0; i < 500; i++) {
    const text = randomText(random);
    const ruler = rulerOf(text);
    const points = [...text];
    assert.equal(ruler.length, points.length);
    for (let place = 0; place <= points.length; place++) {
      assert.equal(ruler.toUnits(place), points.slice(0, place).join("").length);
      assert.equal(ruler.toPoints(ruler.toUnits(place)), place);
    }
  }
});

test("a selection that cuts a character has all of it, in whichever direction it was drawn", () => {
  const { toSpan } = rulerOf("a😀b");
  assert.deepEqual(toSpan(2, 4), [1, 3]);
  assert.deepEqual(toSpan(0, 2), [0, 2]);
  assert.deepEqual(toSpan(2, 0), [0, 2]);
  assert.deepEqual(toSpan(1, 1), [1, 1]);
});

test("places beyond a text are its end", () => {
  const ruler = rulerOf("a😀");
  assert.equal(ruler.toUnits(9), 3);
  assert.equal(ruler.toPoints(9), 2);
  assert.equal(ruler.toUnits(-1), 0);
});

test("spans are tidied as Python does it", () => {
  assert.deepEqual(tidied([[7, 11], [0, 1], [1, 3], [5, 5], [9, 12], [2, 3]]), [[0, 3], [7, 12]]);
});

test("union and minus agree with sets of places", () => {
  const random = randomFrom(2);
  for (let i = 0; i < 500; i++) {
    const [one, other] = [randomSpans(random), randomSpans(random)];
    const [a, b] = [placesOf(one), placesOf(other)];
    assert.deepEqual(placesOf(union(one, other)), new Set([...a, ...b].sort((x, y) => x - y)));
    const left = minus(one, other);
    assert.deepEqual(placesOf(left), new Set([...a].filter((place) => !b.has(place)).sort((x, y) => x - y)));
    assert.deepEqual(left, tidied(left));
    assert.equal(count(one), a.size);
    assert.ok(equal(one, union(one, one)));
  }
});

test("pieces tell how each stretch is drawn", () => {
  const found = pieces("one two", { irrelevant: [[0, 3]], relevant: [[2, 4]], scores: [{ start: 4, end: 7, score: 0.5 }] });
  assert.deepEqual(
    found.map(({ text, irrelevant, relevant, score }) => [text, irrelevant, relevant, score]),
    [
      ["on", true, false, null],
      ["e", true, true, null],
      [" ", false, true, null],
      ["two", false, false, 0.5],
    ],
  );
});

test("pieces of any text joined are the text, and each place is drawn as its spans say", () => {
  const random = randomFrom(3);
  for (let i = 0; i < 300; i++) {
    const text = randomText(random);
    const [irrelevant, relevant] = [randomSpans(random), randomSpans(random)];
    const scores = randomSpans(random).map(([start, end], score) => ({ start, end, score }));
    const found = pieces(text, { irrelevant, relevant, scores });
    assert.equal(found.map((piece) => piece.text).join(""), text);
    for (const { start, end, text: own, ...drawn } of found) {
      assert.equal([...own].length, end - start);
      for (let place = start; place < end; place++) {
        assert.equal(drawn.irrelevant, placesOf(irrelevant).has(place));
        assert.equal(drawn.relevant, placesOf(relevant).has(place));
        const last = scores.findLast((score) => score.start <= place && place < score.end);
        assert.equal(drawn.score, last?.score ?? null);
      }
    }
  }
});

test("a text without marks is one piece, an empty one none", () => {
  assert.equal(pieces("abc", {}).length, 1);
  assert.deepEqual(pieces("", { irrelevant: [[0, 3]] }), []);
});

test("what could reorder or hide the page is shown as an escape", () => {
  assert.equal(visible("a\u202eb\u2066c\u200f\0\x1b[0m\u{e0041}"), "a\\u202eb\\u2066c\\u200f\\x00\\x1b[0m\\U000e0041");
  const turning = [0x61c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069];
  for (const code of turning) assert.match(visible(String.fromCodePoint(code)), /^\\u[0-9a-f]{4}$/);
  assert.equal(visible("\ud800"), "\\ud800");
});

test("words, line feeds, tabs and joined emoji stay as they are", () => {
  const text = "one\ttwo\nशुभ می\u200cخواهم 👨\u200d👩\u200d👧 שלום ❤\ufe0f �";
  assert.equal(visible(text), text);
});

test("parts say the same, and know the places of what they show", () => {
  assert.deepEqual(parts("a😀\u202eb", 5), [
    { start: 5, end: 7, shown: "a😀", escaped: false },
    { start: 7, end: 8, shown: "\\u202e", escaped: true },
    { start: 8, end: 9, shown: "b", escaped: false },
  ]);
  const random = randomFrom(4);
  for (let i = 0; i < 200; i++) {
    const text = randomText(random);
    const found = parts(text);
    assert.equal(found.map((part) => part.shown).join(""), visible(text));
    assert.equal(found.at(-1)?.end ?? 0, [...text].length);
    found.slice(1).forEach((part, at) => assert.equal(part.start, found[at]?.end));
  }
});
