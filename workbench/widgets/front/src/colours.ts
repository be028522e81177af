// Colours: of attributions, of classes, of marks. All are told apart with each of the common kinds of colour blindness,
// and from the page, light or dark.

export type Rgb = readonly [red: number, green: number, blue: number];
export type Theme = "light" | "dark";

export const BACKGROUND: Record<Theme, string> = { light: "#ffffff", dark: "#111418" };

/** Colours of classes: those of Okabe and Ito, moved until each stands out from the page, and five more. */
export const CATEGORIES: Record<Theme, readonly string[]> = {
  light: [
    "#0060cc", "#b04d00", "#009772", "#c87cac", "#4096ea", "#ff5d00",
    "#803722", "#896bb3", "#4a3c5b", "#37a43a", "#9a4954", "#0e5e92",
  ],
  dark: [
    "#2c66b8", "#d67724", "#129787", "#ed93bd", "#63a5ff", "#eedd00",
    "#487000", "#9b61f3", "#486981", "#a8c011", "#db1f46", "#0788b7",
  ],
};

/** Colour of what has no value. */
export const NOTHING: Record<Theme, string> = { light: "#767b85", dark: "#8b919c" };

/** Colour of a class; after the last one they begin again. */
export function category(code: number, theme: Theme): string {
  const colours = CATEGORIES[theme];
  return colours[code % colours.length] as string;
}

// From the middle outwards. Blue and orange differ for everybody, and lightness falls on both sides alike.
const NEGATIVE: readonly Rgb[] = [[146, 197, 222], [67, 147, 195], [5, 92, 170]];
const POSITIVE: readonly Rgb[] = [[253, 208, 162], [253, 141, 60], [199, 61, 0]];
// Cividis: from dark blue to yellow, growing evenly in lightness.
const GROWING: readonly Rgb[] = [
  [0, 34, 78], [35, 62, 108], [87, 93, 109], [124, 123, 120], [165, 156, 116], [209, 193, 91], [254, 232, 56],
];

/** Colour of a signed value in [-1, 1]: blue against, orange for. */
export function diverging(value: number): Rgb {
  return between(value < 0 ? NEGATIVE : POSITIVE, Math.min(1, Math.abs(value)));
}

/** Colour of a value in [0, 1], from dark blue to yellow. */
export function sequential(value: number): Rgb {
  return between(GROWING, Math.max(0, Math.min(1, value)));
}

/** Colours of `count` equal steps from the lowest to the highest value, as "#rrggbb". */
export function ramp(count: number): string[] {
  return Array.from({ length: count }, (_, i) => hex(sequential(count > 1 ? i / (count - 1) : 0)));
}

/** An attribution, its scores scaled so that the largest magnitude is 127. */
export interface Scores {
  readonly height: number;
  readonly width: number;
  readonly signed: boolean;
  readonly data: Int8Array;
}

/** Pixels of an attribution: the stronger a score, the less is seen through it; zero is clear. */
export function rgba(data: Int8Array, signed: boolean, opacity = 1): Uint8ClampedArray<ArrayBuffer> {
  const table = new Uint8ClampedArray(4 * 256);
  for (let score = -128; score < 128; score++) {
    const value = signed ? Math.max(-1, score / 127) : Math.max(0, score / 127);
    const [red, green, blue] = signed ? diverging(value) : sequential(value);
    table.set([red, green, blue, 255 * opacity * Math.abs(value)], 4 * (score & 255));
  }
  const colours = new Uint32Array(table.buffer);
  const pixels = new Uint32Array(data.length);
  for (let i = 0; i < data.length; i++) pixels[i] = colours[(data[i] as number) & 255] as number;
  return new Uint8ClampedArray(pixels.buffer);
}

/** Draw an attribution on a canvas, which gets its size; how much is seen through it is left to the page. */
export function paintHeat(canvas: HTMLCanvasElement, heat: Scores): void {
  canvas.width = heat.width;
  canvas.height = heat.height;
  canvas.getContext("2d")?.putImageData(new ImageData(rgba(heat.data, heat.signed), heat.width, heat.height), 0, 0);
}

/** Background of a stretch of text with a score in [-1, 1], for CSS. */
export function highlight(score: number, signed: boolean, opacity = 1): string {
  const [red, green, blue] = signed ? diverging(score) : sequential(score);
  const strength = signed ? Math.min(1, Math.abs(score)) : Math.max(0, Math.min(1, score));
  return `rgb(${red} ${green} ${blue} / ${(opacity * strength).toFixed(3)})`;
}

/** Contrast of two colours as WCAG 2 defines it, from 1 to 21. */
export function contrast(one: string, other: string): number {
  const [low, high] = [luminance(parsed(one)), luminance(parsed(other))].sort((a, b) => a - b) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

/** Black or white, whichever is read more easily on a colour. */
export function inkOn(colour: string): "#000000" | "#ffffff" {
  return contrast(colour, "#000000") >= contrast(colour, "#ffffff") ? "#000000" : "#ffffff";
}

export function hex([red, green, blue]: Rgb): string {
  return `#${[red, green, blue].map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`;
}

export function parsed(colour: string): Rgb {
  const part = (from: number): number => Number.parseInt(colour.slice(from, from + 2), 16);
  return [part(1), part(3), part(5)];
}

/** The part of light that a colour value stands for (sRGB), 0 to 1. */
export function linear(part: number): number {
  const value = part / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

function luminance([red, green, blue]: Rgb): number {
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

function between(stops: readonly Rgb[], at: number): Rgb {
  const place = at * (stops.length - 1);
  const step = Math.min(Math.floor(place), stops.length - 2);
  const [low, high] = [stops[step], stops[step + 1]] as [Rgb, Rgb];
  const mixed = (i: 0 | 1 | 2): number => Math.round(low[i] + (place - step) * (high[i] - low[i]));
  return [mixed(0), mixed(1), mixed(2)];
}
