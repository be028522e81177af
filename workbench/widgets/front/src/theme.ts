// Theme: light or dark, as the page around has it.

import type { Theme } from "./colours";

/** Reads the theme off the background that an element really has. */
export function themeOf(element: Element | null): Theme {
  for (let at = element; at !== null; at = at.parentElement) {
    const parts = getComputedStyle(at).backgroundColor.match(/[\d.]+/g)?.map(Number);
    if (parts === undefined || parts.length < 3 || parts[3] === 0) continue;
    const [red = 255, green = 255, blue = 255] = parts;
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 128 ? "dark" : "light";
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}
