// Hatching of marks: lines and an outline on the screen's own pixels. Blue marks lie over blue maps, and over anything.

import type { Mask } from "./mask";
import type { Marks } from "./stage";
import type { Role } from "./store";

/** Red, green and blue of a mark. */
export const COLOURS: Record<Role, [number, number, number]> = { irrelevant: [0, 114, 178], relevant: [0, 158, 115] };

const LONGEST = 2048; // pixels of a side, at most: larger pictures are hatched more coarsely
const PERIOD = 8; // of the lines, in pixels
const EDGE = 1.5;

/** Draws the marks over a picture that is shown `zoom` times as large as it is. */
export function hatchMarks(canvas: HTMLCanvasElement, marks: Marks, zoom: number): void {
  const { height, width } = marks.irrelevant;
  const scale = Math.min(zoom, LONGEST / Math.max(height, width));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  if (context === null) return;
  for (const role of ["irrelevant", "relevant"] as const) {
    if (!marks[role].data.includes(1)) continue;
    const shape = shapeOf(marks[role]);
    context.drawImage(outline(shape, canvas, 2 * EDGE, "#ffffff"), 0, 0);
    context.drawImage(outline(shape, canvas, EDGE, `rgb(${COLOURS[role].join(" ")})`), 0, 0);
    context.drawImage(lines(shape, canvas, role), 0, 0);
  }
}

/** The marked pixels, opaque, in the picture's own size. */
function shapeOf({ height, width, data }: Mask): OffscreenCanvas {
  const shape = new OffscreenCanvas(width, height);
  const pixels = new ImageData(width, height);
  for (let at = 0; at < data.length; at++) if (data[at]) pixels.data[4 * at + 3] = 255;
  shape.getContext("2d")?.putImageData(pixels, 0, 0);
  return shape;
}

/** What lies within some pixels around a shape, but not in it. */
function outline(shape: OffscreenCanvas, { width, height }: HTMLCanvasElement, reach: number, colour: string): OffscreenCanvas {
  const drawn = new OffscreenCanvas(width, height);
  const context = drawn.getContext("2d");
  if (context === null) return drawn;
  context.imageSmoothingEnabled = false;
  for (const x of [-reach, 0, reach]) for (const y of [-reach, 0, reach]) context.drawImage(shape, x, y, width, height);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = colour;
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(shape, 0, 0, width, height);
  return drawn;
}

/** Slanted lines within a shape: one way for what must not matter, the other way for what should. */
function lines(shape: OffscreenCanvas, { width, height }: HTMLCanvasElement, role: Role): OffscreenCanvas {
  const drawn = new OffscreenCanvas(width, height);
  const context = drawn.getContext("2d");
  if (context === null) return drawn;
  context.beginPath();
  for (let from = -height; from < width; from += PERIOD) {
    const [top, bottom] = role === "irrelevant" ? [from + height, from] : [from, from + height];
    context.moveTo(top, 0);
    context.lineTo(bottom, height);
  }
  for (const [colour, thick] of [["rgb(255 255 255 / 75%)", 2 * EDGE], [`rgb(${COLOURS[role].join(" ")})`, EDGE]] as const) {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.stroke();
  }
  context.imageSmoothingEnabled = false;
  context.globalCompositeOperation = "destination-in";
  context.drawImage(shape, 0, 0, width, height);
  return drawn;
}
