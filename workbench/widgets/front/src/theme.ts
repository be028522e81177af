// Theme: light or dark, as the page around has it.

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Rgb, Theme } from "./colours";

const MARKED = ["class", "style", "data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind", "theme"];

/** The theme around an element, which may change while it is looked at. */
export function useTheme(element: { current: Element | null }): Signal<Theme> {
  const theme = useSignal<Theme>("light");
  useEffect(() => {
    const look = () => (theme.value = themeOf(element.current));
    const watch = new MutationObserver(look);
    for (const root of [document.documentElement, document.body]) watch.observe(root, { attributeFilter: MARKED });
    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", look);
    look();
    return () => (watch.disconnect(), system.removeEventListener("change", look));
  }, []);
  return theme;
}

/** Reads the theme off the background that an element really has. */
export function themeOf(element: Element | null): Theme {
  const found = backgroundOf(element);
  if (found === null) return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const [red, green, blue] = found;
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 128 ? "dark" : "light";
}

/** The colour behind an element; null where nothing has one. */
export function backgroundOf(element: Element | null): Rgb | null {
  for (let at = element; at !== null; at = at.parentElement) {
    const parts = getComputedStyle(at).backgroundColor.match(/[\d.]+/g)?.map(Number);
    if (parts === undefined || parts.length < 3 || parts[3] === 0) continue;
    const [red = 255, green = 255, blue = 255] = parts;
    return [red, green, blue];
  }
  return null;
}
