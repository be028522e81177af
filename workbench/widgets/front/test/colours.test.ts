import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BACKGROUND, CATEGORIES, NOTHING, type Rgb, type Theme, category, contrast, diverging, hex, highlight, inkOn, linear,
  parsed, ramp, rgba, sequential,
} from "../src/colours";

const THEMES: Theme[] = ["light", "dark"];

// Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009:
// how light looks without red cones, and without green ones.
const SIGHTS: Record<string, [Rgb, Rgb, Rgb]> = {
  common: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
};

const dot = (row: Rgb, by: Rgb): number => row[0] * by[0] + row[1] * by[1] + row[2] * by[2];

/** Where a colour lies in OKLab, in which equal distances look about equally far. */
function seen(colour: Rgb, sight: [Rgb, Rgb, Rgb]): Rgb {
  const light = colour.map(linear) as unknown as Rgb;
  const through = sight.map((row) => Math.max(0, Math.min(1, dot(row, light)))) as unknown as Rgb;
  const cones = (
    [
      [0.4122214708, 0.5363325363, 0.0514459929],
      [0.2119034982, 0.6806995451, 0.1073969566],
      [0.0883024619, 0.2817188376, 0.6299787005],
    ] as Rgb[]
  ).map((row) => Math.cbrt(dot(row, through))) as unknown as Rgb;
  return [
    dot([0.2104542553, 0.793617785, -0.0040720468], cones),
    dot([1.9779984951, -2.428592205, 0.4505937099], cones),
    dot([0.0259040371, 0.7827717662, -0.808675766], cones),
  ];
}

function apart(one: Rgb, other: Rgb, sight: [Rgb, Rgb, Rgb]): number {
  const [a, b] = [seen(one, sight), seen(other, sight)];
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

test("contrast is that of WCAG 2", () => {
  assert.equal(contrast("#000000", "#ffffff"), 21);
  assert.equal(contrast("#ffffff", "#ffffff"), 1);
  assert.ok(Math.abs(contrast("#777777", "#ffffff") - 4.48) < 0.01);
});

for (const theme of THEMES) {
  test(`each colour of a class stands out from the ${theme} page by 3 to 1`, () => {
    assert.ok(CATEGORIES[theme].length >= 10);
    for (const colour of [...CATEGORIES[theme], NOTHING[theme]]) {
      assert.ok(contrast(colour, BACKGROUND[theme]) >= 3, `${colour}: ${contrast(colour, BACKGROUND[theme])}`);
    }
  });

  for (const [name, sight] of Object.entries(SIGHTS)) {
    test(`any two colours of classes on the ${theme} page differ with ${name} sight`, () => {
      const colours = CATEGORIES[theme].map(parsed);
      colours.forEach((one, i) => {
        for (const other of colours.slice(i + 1)) assert.ok(apart(one, other, sight) > 0.08, `${hex(one)} ${hex(other)}`);
      });
    });
  }
}

test("classes beyond the last colour begin again", () => {
  assert.equal(category(CATEGORIES.light.length + 1, "light"), CATEGORIES.light[1]);
});

test("for and against differ for everybody, the more the stronger they are", () => {
  for (const sight of Object.values(SIGHTS)) {
    const distances = [0.2, 0.6, 1].map((value) => apart(diverging(value), diverging(-value), sight));
    assert.ok(distances.every((distance, i) => distance > 0.08 && distance > (distances[i - 1] ?? 0)), `${distances}`);
  }
});

test("the sequential colours grow in lightness for everybody", () => {
  for (const sight of Object.values(SIGHTS)) {
    const light = Array.from({ length: 33 }, (_, i) => seen(sequential(i / 32), sight)[0]);
    assert.ok(light.every((value, i) => i === 0 || value > (light[i - 1] as number)));
  }
  assert.equal(ramp(255).length, 255);
  assert.equal(ramp(3)[0], hex(sequential(0)));
  assert.equal(ramp(3)[2], hex(sequential(1)));
});

test("a signed attribution is clear at zero and mirrored around it", () => {
  const pixels = rgba(Int8Array.of(0, 127, -127, -128, 64, -64), true);
  const at = (i: number): number[] => [...pixels.subarray(4 * i, 4 * i + 4)];
  assert.equal(at(0)[3], 0);
  assert.deepEqual(at(1), [...diverging(1), 255]);
  assert.deepEqual(at(2), [...diverging(-1), 255]);
  assert.deepEqual(at(3), at(2));
  assert.equal(at(4)[3], at(5)[3]);
});

test("an unsigned attribution is clear where it is zero or less", () => {
  const pixels = rgba(Int8Array.of(0, -5, 127), false, 0.5);
  assert.deepEqual([pixels[3], pixels[7], pixels[11]], [0, 0, 128]);
});

test("stretches of text are coloured as pictures are", () => {
  assert.equal(highlight(0, true), `rgb(${diverging(0).join(" ")} / 0.000)`);
  assert.equal(highlight(-1, true, 0.5), `rgb(${diverging(-1).join(" ")} / 0.500)`);
  assert.equal(highlight(-1, false).endsWith("/ 0.000)"), true);
});

test("words on a colour are black or white, and can be read", () => {
  for (const colour of [...CATEGORIES.light, ...CATEGORIES.dark]) assert.ok(contrast(inkOn(colour), colour) >= 4.5);
});
