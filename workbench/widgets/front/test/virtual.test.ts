import assert from "node:assert/strict";
import { test } from "node:test";
import { type List, type Place, lines, moved, placeAt, placeOf, rested, reveal } from "../src/virtual";
import { type Random, randomFrom } from "./random";

const LIMIT = 16_000_000; // of what browsers draw

function randomList(random: Random): List {
  return {
    count: Math.floor(10 ** (random.next() * 7)),
    lineHeight: random.whole(18, 340),
    viewport: random.whole(300, 1400),
  };
}

const linesAt = (list: List, at: Place | number, overscan = 0) =>
  lines(list.count, list.lineHeight, list.viewport, typeof at === "number" ? placeAt(list, at) : at, overscan);

const bottomOf = (list: List): number => Math.max(0, linesAt(list, 0).total - list.viewport);

/** What a browser makes of a `scrollTop`. */
const told = (list: List, scrollTop: number): number =>
  Math.max(0, Math.min(Math.round(scrollTop * 2) / 2, bottomOf(list)));

function forLists(times: number, check: (list: List, random: Random) => void): void {
  const random = randomFrom(7);
  for (let i = 0; i < times; i++) check(randomList(random), random);
}

test("no list is higher than browsers draw", () => {
  forLists(500, (list) => assert.ok(linesAt(list, 0).total <= LIMIT / 2));
});

test("the first line is at the top of the bar, the last line at its bottom", () => {
  forLists(500, (list) => {
    assert.equal(linesAt(list, 0).first, 0);
    const end = linesAt(list, bottomOf(list));
    assert.equal(end.last, list.count - 1);
    const below = end.offset + (end.last + 1 - end.first) * list.lineHeight;
    assert.ok(Math.abs(below - end.total) < 1e-3, "the last line ends where the element ends");
  });
});

test("the lines drawn cover the window, and no more than they must", () => {
  forLists(1000, (list, random) => {
    const at = placeAt(list, random.next() * bottomOf(list));
    const { first, last, offset } = linesAt(list, at);
    const bottom = offset + (last + 1 - first) * list.lineHeight;
    assert.ok(offset <= at.scrollTop + 1e-3);
    assert.ok(bottom >= at.scrollTop + list.viewport - 1e-3 || last === list.count - 1);
    assert.ok(last - first <= Math.ceil(list.viewport / list.lineHeight) + 1);
    const more = linesAt(list, at, 3);
    assert.equal(more.first, Math.max(0, first - 3));
    assert.equal(more.last, Math.min(list.count - 1, last + 3));
    assert.ok(Math.abs(more.offset + (first - more.first) * list.lineHeight - offset) < 1e-3, "overscan moves nothing");
  });
});

test("a list that browsers can draw whole is not scaled", () => {
  const list = { count: 1000, lineHeight: 100, viewport: 650 };
  assert.deepEqual(linesAt(list, 12_345), { first: 123, last: 129, offset: 12_300, total: 100_000 });
  assert.deepEqual(moved(list, placeAt(list, 100), 50_000), { position: 50_000, scrollTop: 50_000 });
});

test("positions grow with the bar", () => {
  forLists(300, (list, random) => {
    const [low, high] = [random.next(), random.next()].sort((a, b) => a - b) as [number, number];
    const bottom = bottomOf(list);
    assert.ok(placeAt(list, low * bottom).position <= placeAt(list, high * bottom).position);
  });
});

test("small steps move the list by as many pixels, wherever they begin", () => {
  forLists(300, (list, random) => {
    let place = placeAt(list, random.next() * bottomOf(list));
    const far = Math.max(0, list.count * list.lineHeight - list.viewport);
    for (let i = 0; i < 30; i++) {
      const step = random.whole(-300, 300);
      const before = place;
      place = moved(list, place, told(list, place.scrollTop + step));
      const ended = place.scrollTop < 1 || place.scrollTop > bottomOf(list) - 1;
      if (!ended) {
        const wanted = Math.max(0, Math.min(far, before.position + step));
        assert.ok(Math.abs(place.position - wanted) <= 1, `${place.position - before.position} for ${step}`);
      }
      // The bar is put right when scrolling rests; the browser rounds, and tells so.
      if (i % 5 === 4) {
        const still = rested(list, place);
        assert.ok(Math.abs(still.position - place.position) < 1e-6);
        place = moved(list, still, told(list, still.scrollTop));
        assert.ok(Math.abs(place.position - still.position) < 1);
      }
    }
  });
});

test("the end is reached by small steps, as it is in a short list", () => {
  for (const count of [100, 10_000_000]) {
    const list = { count, lineHeight: 150, viewport: 600 };
    let place = placeOf(list, count - 60);
    for (let i = 0; i < 200; i++) place = moved(list, place, told(list, place.scrollTop + 53));
    assert.equal(linesAt(list, place).last, count - 1);
    assert.equal(place.position, count * 150 - 600);
    for (let i = 0; i < 10; i++) place = moved(list, place, told(list, place.scrollTop - 53));
    assert.equal(place.position, count * 150 - 600 - 530);
  }
});

test("the start is reached by small steps from far down", () => {
  const list = { count: 10_000_000, lineHeight: 150, viewport: 600 };
  let place = placeOf(list, 40_000);
  for (let i = 0; place.position > 0 && i < 10_000; i++) {
    place = rested(list, moved(list, place, told(list, place.scrollTop - 1500)));
  }
  assert.deepEqual(place, { position: 0, scrollTop: 0 });
});

test("a drag of the bar reaches every part of the list", () => {
  const list = { count: 10_000_000, lineHeight: 150, viewport: 600 };
  let place = placeAt(list, 0);
  const seen: number[] = [];
  for (let share = 0; share <= 1; share += 0.01) {
    place = moved(list, place, told(list, share * bottomOf(list)));
    seen.push(place.position);
  }
  assert.ok(seen.every((position, i) => i === 0 || position > (seen[i - 1] as number)));
  assert.ok(Math.abs((seen[50] as number) / (10_000_000 * 150) - 0.5) < 0.01);
});

test("a jump to a line has it at the window's top, though the browser rounds", () => {
  forLists(1000, (list, random) => {
    const line = random.whole(0, list.count);
    const jumped = placeOf(list, line);
    const place = moved(list, jumped, told(list, jumped.scrollTop));
    const { first, last } = linesAt(list, place);
    assert.ok(first <= line && line <= last);
    const reachable = line * list.lineHeight <= list.count * list.lineHeight - list.viewport;
    if (reachable) assert.equal(place.position, line * list.lineHeight);
  });
});

test("a line is revealed by the shortest way, and one that is seen moves nothing", () => {
  forLists(1000, (list, random) => {
    const start = placeOf(list, random.whole(0, list.count));
    const line = random.whole(0, list.count);
    const place = reveal(list, start, line);
    const [top, bottom] = [line * list.lineHeight, (line + 1) * list.lineHeight];
    if (list.lineHeight <= list.viewport) {
      assert.ok(top >= place.position - 1e-6 && bottom <= place.position + list.viewport + 1e-6);
    }
    assert.equal(reveal(list, place, line).position, place.position);
    const seen = top >= start.position && bottom <= start.position + list.viewport;
    if (seen) assert.equal(place, start);
  });
});

test("a list without lines, and one shorter than the window, draw what there is", () => {
  const list = { count: 0, lineHeight: 100, viewport: 500 };
  assert.deepEqual(linesAt(list, 0, 2), { first: 0, last: -1, offset: 0, total: 0 });
  assert.deepEqual(linesAt({ ...list, count: 2 }, 0, 2), { first: 0, last: 1, offset: 0, total: 200 });
});

test("a list that has shrunk shows its end", () => {
  const long = { count: 5000, lineHeight: 100, viewport: 500 };
  const short = { ...long, count: 10 };
  assert.deepEqual(rested(short, placeOf(long, 4000)), { position: 500, scrollTop: 500 });
  assert.deepEqual(linesAt(short, placeOf(long, 4000)), { first: 5, last: 9, offset: 500, total: 1000 });
});
