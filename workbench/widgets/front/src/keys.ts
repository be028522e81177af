// What each key does. The table is what the help shows, and what tests and the README are checked against.

/** Where a command holds: in the gallery, table and map; where one row is open; or in both. */
export type Where = "rows" | "detail" | "everywhere";

interface Entry {
  readonly id: string;
  readonly keys: readonly string[]; // as KeyboardEvent.key names them, with "Shift+" or "Ctrl+" before; Ctrl is also ⌘
  readonly words: string;
  readonly where: Where;
}

export const COMMANDS = [
  { id: "next", keys: ["ArrowRight", "j"], words: "Go to the next row", where: "everywhere" },
  { id: "previous", keys: ["ArrowLeft", "k"], words: "Go to the previous row", where: "everywhere" },
  { id: "below", keys: ["ArrowDown"], words: "Go to the row below", where: "everywhere" },
  { id: "above", keys: ["ArrowUp"], words: "Go to the row above", where: "everywhere" },
  { id: "next-unmarked", keys: ["n"], words: "Go to the next row without marks", where: "everywhere" },
  { id: "previous-unmarked", keys: ["p"], words: "Go to the previous row without marks", where: "everywhere" },
  { id: "open", keys: ["Enter"], words: "Open the row", where: "rows" },
  { id: "select", keys: ["Space"], words: "Select the row, or no longer", where: "everywhere" },
  { id: "close", keys: ["Escape"], words: "Close what is open, or stop what is being drawn", where: "everywhere" },
  { id: "overlay", keys: ["o"], words: "Show or hide the explanation", where: "everywhere" },
  { id: "brush", keys: ["b"], words: "Mark with a brush", where: "detail" },
  { id: "erase", keys: ["e"], words: "Erase marks", where: "detail" },
  { id: "rectangle", keys: ["r"], words: "Mark a rectangle", where: "detail" },
  { id: "lasso", keys: ["l"], words: "Mark what a line goes round", where: "detail" },
  { id: "fill", keys: ["f"], words: "Mark an area of one colour", where: "detail" },
  { id: "invert", keys: ["i"], words: "Mark what is unmarked, and the other way round", where: "detail" },
  { id: "clear", keys: ["c"], words: "Clear the marks of this row", where: "detail" },
  { id: "irrelevant", keys: ["1"], words: "Mark what must not matter", where: "detail" },
  { id: "relevant", keys: ["2"], words: "Mark what should matter", where: "detail" },
  { id: "smaller", keys: ["["], words: "Make the brush smaller", where: "detail" },
  { id: "larger", keys: ["]"], words: "Make the brush larger", where: "detail" },
  { id: "zoom-in", keys: ["+", "="], words: "Zoom in", where: "everywhere" },
  { id: "zoom-out", keys: ["-"], words: "Zoom out", where: "everywhere" },
  { id: "zoom-reset", keys: ["0"], words: "Zoom back to the whole", where: "everywhere" },
  { id: "spread", keys: ["a"], words: "Apply the marks to rows like this one", where: "detail" },
  { id: "undo", keys: ["z", "Ctrl+z"], words: "Undo", where: "everywhere" },
  { id: "redo", keys: ["Shift+z", "Ctrl+Shift+z"], words: "Redo", where: "everywhere" },
  { id: "gallery", keys: ["g"], words: "Show the gallery", where: "everywhere" },
  { id: "table", keys: ["t"], words: "Show the table", where: "everywhere" },
  { id: "map", keys: ["m"], words: "Show the map", where: "everywhere" },
  { id: "filter", keys: ["/"], words: "Write a filter", where: "everywhere" },
  { id: "help", keys: ["?"], words: "Show what the keys do", where: "everywhere" },
] as const satisfies readonly Entry[];

export type CommandId = (typeof COMMANDS)[number]["id"];

/** What of a KeyboardEvent is read. */
export interface Press {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
  readonly shiftKey: boolean;
  readonly target: unknown;
  readonly isComposing?: boolean;
  readonly defaultPrevented?: boolean;
  getModifierState?(key: string): boolean;
}

const BY_KEY = new Map<string, (typeof COMMANDS)[number]>(
  COMMANDS.flatMap((command) => command.keys.map((key) => [key, command] as const)),
);

/** The command that a key press gives where the person is; null if it gives none or belongs to a field. */
export function commandOf(press: Press, here: "rows" | "detail"): CommandId | null {
  if (press.defaultPrevented || press.isComposing || typesInto(press.target)) return null;
  if ((press.key === "Enter" || press.key === " ") && isPressable(press.target)) return null;
  if (press.shiftKey && press.key.startsWith("Arrow") && roleOf(press.target) === "textbox") return null; // selects text
  const command = BY_KEY.get(nameOf(press));
  return command && (command.where === "everywhere" || command.where === here) ? command.id : null;
}

const SHOWN: Record<string, string> = { ArrowRight: "→", ArrowLeft: "←", ArrowDown: "↓", ArrowUp: "↑", Escape: "Esc" };

/** A key as the help shows it: letters as they stand on the keys, though Shift need not be held. */
export function shownKey(key: string): string {
  const [, held = "", last = key] = /^((?:Ctrl\+)?(?:Shift\+)?)(.+)$/.exec(key) ?? [];
  return held + (SHOWN[last] ?? (last.length === 1 ? last.toUpperCase() : last));
}

/** The press as the table writes it; "" for one that no command may take. */
function nameOf(press: Press): string {
  const key = press.key === " " ? "Space" : press.key;
  const letter = /^\p{L}$/u.test(key);
  const sign = key.length === 1 && !letter;
  // On many keyboards brackets need AltGr, which some systems report as Ctrl and Alt, others as Alt.
  const third = sign && (press.altKey || (press.getModifierState?.("AltGraph") ?? false));
  if (press.altKey && !third) return "";
  const ctrl = (press.ctrlKey || press.metaKey) && !third;
  // Only letters have a Shift of their own: elsewhere it made the sign, or extends a selection. Caps Lock changes nothing.
  const shift = press.shiftKey && letter;
  return `${ctrl ? "Ctrl+" : ""}${shift ? "Shift+" : ""}${letter ? key.toLowerCase() : key}`;
}

interface ElementLike {
  readonly tagName?: string;
  readonly isContentEditable?: boolean;
  getAttribute?(name: string): string | null;
}

function roleOf(target: unknown): string {
  return (target as ElementLike | null)?.getAttribute?.("role") ?? "";
}

/** Whether keys write something there, or set a value; a text that is only read takes commands. */
function typesInto(target: unknown): boolean {
  const element = target as ElementLike | null;
  if (!element?.tagName) return false;
  const fields = ["textbox", "searchbox", "combobox", "slider", "spinbutton"];
  return (
    ["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName.toUpperCase()) ||
    element.isContentEditable === true ||
    (fields.includes(roleOf(target)) && element.getAttribute?.("aria-readonly") !== "true")
  );
}

/** Enter and Space press a button; they must not do anything else at the same time. */
function isPressable(target: unknown): boolean {
  const element = target as ElementLike | null;
  if (!element?.tagName) return false;
  return (
    ["BUTTON", "A", "SUMMARY"].includes(element.tagName.toUpperCase()) ||
    ["button", "checkbox", "menuitem", "switch", "tab", "radio"].includes(roleOf(target))
  );
}
