// Spans of a text, [start, end) in code points as Python counts them, over strings that count in UTF-16 units.

export type Span = readonly [start: number, end: number];

export interface Score {
  readonly start: number;
  readonly end: number;
  readonly score: number;
}

export interface Marks {
  readonly irrelevant?: readonly Span[] | null;
  readonly relevant?: readonly Span[] | null;
  readonly scores?: readonly Score[] | null; // where they overlap, the later one counts
}

/** A stretch of a text that is drawn in one way. */
export interface Piece {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly irrelevant: boolean;
  readonly relevant: boolean;
  readonly score: number | null;
}

/** A stretch of a text as it may be shown: either plain, or one character in place of which its escape is shown. */
export interface Part {
  readonly start: number;
  readonly end: number;
  readonly shown: string;
  readonly escaped: boolean;
}

/** Places in one text, converted both ways. */
export interface Ruler {
  readonly length: number; // in code points
  toUnits(points: number): number;
  /** A place inside a surrogate pair is that of the character's start. */
  toPoints(units: number): number;
  /** The whole characters that a selection in UTF-16 units touches. */
  toSpan(start: number, end: number): Span;
}

export function rulerOf(text: string): Ruler {
  const wide: number[] = []; // UTF-16 places of the characters that take two units
  for (const { index } of text.matchAll(/[\u{10000}-\u{10FFFF}]/gu)) wide.push(index);
  const length = text.length - wide.length;
  const clamp = (place: number, most: number): number => Math.max(0, Math.min(Math.trunc(place), most));
  // The i-th wide character starts at unit wide[i], which is point wide[i] - i.
  const toUnits = (points: number): number => {
    const place = clamp(points, length);
    return place + below(wide, (unit, i) => unit - i < place);
  };
  const toPoints = (units: number): number => {
    const place = clamp(units, text.length);
    return place - below(wide, (unit) => unit < place);
  };
  const toSpan = (start: number, end: number): Span => {
    const [low, high] = start <= end ? [start, end] : [end, start];
    const last = toPoints(high);
    return [toPoints(low), toUnits(last) < clamp(high, text.length) ? last + 1 : last];
  };
  return { length, toUnits, toPoints, toSpan };
}

/** Sorted and disjoint, neighbours joined, none empty. */
export function tidied(spans: readonly Span[]): Span[] {
  const result: [number, number][] = [];
  for (const [start, end] of spans.filter(([a, b]) => a < b).sort((a, b) => a[0] - b[0])) {
    const last = result.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else result.push([start, end]);
  }
  return result;
}

export function union(one: readonly Span[], other: readonly Span[]): Span[] {
  return tidied([...one, ...other]);
}

export function minus(one: readonly Span[], other: readonly Span[]): Span[] {
  const result: Span[] = [];
  const away = tidied(other);
  let next = 0;
  for (const [start, end] of tidied(one)) {
    let from = start;
    while (next < away.length && (away[next] as Span)[1] <= from) next++;
    for (let i = next; i < away.length && (away[i] as Span)[0] < end; i++) {
      const [low, high] = away[i] as Span;
      if (low > from) result.push([from, low]);
      from = high;
    }
    if (from < end) result.push([from, end]);
  }
  return result;
}

export function count(spans: readonly Span[]): number {
  return tidied(spans).reduce((sum, [start, end]) => sum + end - start, 0);
}

export function equal(one: readonly Span[], other: readonly Span[]): boolean {
  const [a, b] = [tidied(one), tidied(other)];
  return a.length === b.length && a.every((span, i) => span[0] === b[i]?.[0] && span[1] === b[i]?.[1]);
}

/** Cut a text where the way of drawing it changes; the pieces joined are the text. */
export function pieces(text: string, marks: Marks): Piece[] {
  const ruler = rulerOf(text);
  const irrelevant = tidied(marks.irrelevant ?? []);
  const relevant = tidied(marks.relevant ?? []);
  const scores = marks.scores ?? [];
  const cuts = new Set([0, ruler.length]);
  for (const [start, end] of [...irrelevant, ...relevant]) cuts.add(start).add(end);
  for (const { start, end } of scores) cuts.add(start).add(end);
  const places = [...cuts].filter((place) => place >= 0 && place <= ruler.length).sort((a, b) => a - b);
  const scored = scoresAt(scores, places);
  const [inIrrelevant, inRelevant] = [walker(irrelevant), walker(relevant)];
  const result: Piece[] = [];
  for (let i = 0; i + 1 < places.length; i++) {
    const [start, end] = [places[i] as number, places[i + 1] as number];
    result.push({
      start,
      end,
      text: text.slice(ruler.toUnits(start), ruler.toUnits(end)),
      irrelevant: inIrrelevant(start),
      relevant: inRelevant(start),
      score: scored[i] ?? null,
    });
  }
  return result;
}

// Characters that show nothing and could change how others are shown: controls but line feed and tab, line and
// paragraph separators, everything that turns the direction of writing, invisible spaces and tags, lone surrogates.
// The joiners U+200C and U+200D stay: words of many languages and many emoji need them.
const UNSEEN =
  /[\0-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\u{e0000}-\u{e007f}]/gu;

/** The text with each such character as an escape, so that nothing in it can reorder or hide what is around. */
export function visible(text: string): string {
  return text.replace(UNSEEN, escapeOf);
}

/** The same in parts that know their places, `start` being that of the text itself: for drawing what is selectable. */
export function parts(text: string, start = 0): Part[] {
  const result: Part[] = [];
  let place = start;
  let from = 0;
  const plain = (to: number): void => {
    if (to <= from) return;
    const shown = text.slice(from, to);
    const length = rulerOf(shown).length;
    result.push({ start: place, end: place + length, shown, escaped: false });
    place += length;
  };
  for (const { 0: character, index } of text.matchAll(UNSEEN)) {
    plain(index);
    result.push({ start: place, end: place + 1, shown: escapeOf(character), escaped: true });
    place += 1;
    from = index + character.length;
  }
  plain(text.length);
  return result;
}

/** The beginning of a text that a page can show: each character that is escaped costs an element of its own. */
export function legible(text: string, longest = 100_000, escapes = 2_000): string {
  let left = escapes;
  for (const { index } of text.slice(0, longest).matchAll(UNSEEN)) if (left-- === 0) return text.slice(0, index);
  const split = /[\ud800-\udbff]/.test(text.charAt(longest - 1)); // a cut there would halve a character
  return text.slice(0, split ? longest - 1 : longest);
}

function escapeOf(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const digits = code.toString(16);
  if (code <= 0xff) return `\\x${digits.padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
}

/** How many leading items hold the condition, which none holds after one that does not. */
function below(items: readonly number[], holds: (item: number, index: number) => boolean): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(items[middle] as number, middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Tells whether a place lies in one of tidy spans; asked with places that only grow. */
function walker(spans: readonly Span[]): (place: number) => boolean {
  let next = 0;
  return (place) => {
    while (next < spans.length && (spans[next] as Span)[1] <= place) next++;
    return next < spans.length && (spans[next] as Span)[0] <= place;
  };
}

/** The score of each stretch between neighbouring places. */
function scoresAt(scores: readonly Score[], places: readonly number[]): (number | undefined)[] {
  const result: (number | undefined)[] = [];
  for (const { start, end, score } of scores) {
    for (let i = below(places, (place) => place < start); i + 1 < places.length; i++) {
      if ((places[i] as number) >= end) break;
      result[i] = score;
    }
  }
  return result;
}
