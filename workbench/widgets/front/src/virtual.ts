// Which lines of a long list are shown. Browsers limit how high an element may be (about 16 million pixels), so a list
// that is higher gets an element of 8 million, and places in the list are no longer those of the scroll bar.
//
// Near both ends one pixel of the bar is one of the list; between them a jump of the bar is scaled, and a small step
// (a wheel, a key, a swipe) moves the list by as many pixels. After small steps the bar is a little off; `rested` puts
// it right, and is called once scrolling rests, because a bar that is set while it moves may stop.

/** Lines of one height, seen through a window. All in pixels but `count`. */
export interface List {
  readonly count: number;
  readonly lineHeight: number;
  readonly viewport: number;
}

export interface Place {
  readonly position: number; // of the window's top edge in the list
  readonly scrollTop: number; // of the element
}

export interface Lines {
  readonly first: number;
  readonly last: number; // drawn too; -1 where there is no line
  readonly offset: number; // where the first line begins in the element
  readonly total: number; // height of the element
}

const MOST = 8_000_000;
const EXACT = 1_000_000; // pixels at each end that are not scaled

/** The place where the bar stands when nothing else is known: at the start, and after a jump. */
export function placeAt(list: List, scrollTop: number): Place {
  const bar = clamp(scrollTop, barRange(list));
  return { position: toList(list, bar), scrollTop: bar };
}

/** The place after a scroll event that tells a new `scrollTop`. */
export function moved(list: List, place: Place, scrollTop: number): Place {
  const most = barRange(list);
  const bar = clamp(scrollTop, most);
  if (!scaled(list)) return placeAt(list, bar);
  if (bar < 1) return placeAt(list, 0); // an end is an end, though the browser may count in parts of a pixel
  if (bar > most - 1) return placeAt(list, most);
  const step = bar - place.scrollTop;
  if (Math.abs(step) < 1) return place; // the browser rounded what it was told
  if (Math.abs(step) > smallStep(list)) return placeAt(list, bar);
  return { position: clamp(place.position + step, listRange(list)), scrollTop: bar };
}

/** The same position with the bar where it belongs: set the element's `scrollTop` to it. */
export function rested(list: List, place: Place): Place {
  const position = clamp(place.position, listRange(list));
  return { position, scrollTop: toBar(list, position) };
}

/** The place that has a line at the window's top edge, or as near to it as the list's end allows. */
export function placeOf(list: List, line: number): Place {
  return rested(list, { position: line * list.lineHeight, scrollTop: 0 });
}

/** The nearest place from which a line is wholly in the window; the same place if it is already. */
export function reveal(list: List, place: Place, line: number): Place {
  const top = clamp(line, Math.max(0, list.count - 1)) * list.lineHeight;
  const bottom = top + list.lineHeight;
  if (top >= place.position && bottom <= place.position + list.viewport) return place;
  const above = top < place.position || list.lineHeight > list.viewport;
  return rested(list, { position: above ? top : bottom - list.viewport, scrollTop: 0 });
}

/** The lines to draw: those in the window, and `overscan` more on each side. */
export function lines(count: number, lineHeight: number, viewport: number, place: Place, overscan: number): Lines {
  const list = { count, lineHeight, viewport };
  const position = clamp(place.position, listRange(list));
  const first = Math.max(0, Math.floor(position / lineHeight) - overscan);
  const last = Math.min(count, Math.ceil((position + viewport) / lineHeight) + overscan) - 1;
  const bar = clamp(place.scrollTop, barRange(list)); // a list that has shrunk is drawn before the browser tells so
  return { first, last, offset: bar + first * lineHeight - position, total: Math.min(height(list), MOST) };
}

function height(list: List): number {
  return list.count * list.lineHeight;
}

function scaled(list: List): boolean {
  return height(list) > MOST;
}

/** Largest position in the list. */
function listRange(list: List): number {
  return Math.max(0, height(list) - list.viewport);
}

/** Largest `scrollTop`. */
function barRange(list: List): number {
  return Math.max(0, Math.min(height(list), MOST) - list.viewport);
}

/** Less than what a drag of the bar by one pixel does, more than a page or a quick swipe in one frame. */
function smallStep(list: List): number {
  return Math.max(2000, 3 * list.viewport);
}

function toList(list: List, bar: number): number {
  const [most, far] = [barRange(list), listRange(list)];
  if (!scaled(list) || bar <= EXACT) return bar;
  if (bar >= most - EXACT) return far - (most - bar);
  return EXACT + ((bar - EXACT) / (most - 2 * EXACT)) * (far - 2 * EXACT);
}

function toBar(list: List, position: number): number {
  const [most, far] = [barRange(list), listRange(list)];
  if (!scaled(list) || position <= EXACT) return position;
  if (position >= far - EXACT) return most - (far - position);
  return EXACT + ((position - EXACT) / (far - 2 * EXACT)) * (most - 2 * EXACT);
}

/** A number no less than 0 and no more than `most`. */
export function clamp(value: number, most: number): number {
  return Math.max(0, Math.min(value, most));
}
