import assert from "node:assert/strict";
import { test } from "node:test";
import { COMMANDS, type CommandId, type Press, commandOf, shownKey } from "../src/keys";

function press(key: string, held: Partial<Press> = {}): Press {
  return { key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, target: null, ...held };
}

const element = (tagName: string, role: string | null = null) => ({ tagName, getAttribute: (name: string) => (name === "role" ? role : null) });

/** The press that a key of the table stands for. */
function written(key: string): Press {
  const held = { ctrlKey: key.includes("Ctrl+"), shiftKey: key.includes("Shift+") };
  const last = key.replace(/^(Ctrl\+)?(Shift\+)?/, "");
  return press(last === "Space" ? " " : held.shiftKey ? last.toUpperCase() : last, held);
}

test("each key of the table gives its command, and where it does not hold, none", () => {
  for (const { id, keys, where } of COMMANDS) {
    for (const key of keys) {
      for (const here of ["rows", "detail"] as const) {
        const expected: CommandId | null = where === "everywhere" || where === here ? id : null;
        assert.equal(commandOf(written(key), here), expected, `${key} in ${here}`);
      }
    }
  }
});

test("no key has two commands, and each is told in words", () => {
  const keys = COMMANDS.flatMap((command) => [...command.keys]);
  assert.equal(new Set(keys).size, keys.length);
  assert.equal(new Set(COMMANDS.map((command) => command.id)).size, COMMANDS.length);
  for (const { words } of COMMANDS) assert.match(words, /^[A-Z].*[^.]$/);
});

test("keys typed into a field are left alone", () => {
  for (const target of [element("INPUT"), element("textarea"), element("SELECT"), element("DIV", "textbox")]) {
    assert.equal(commandOf(press("b", { target }), "detail"), null);
  }
  assert.equal(commandOf(press("b", { target: { tagName: "DIV", isContentEditable: true } }), "detail"), null);
  assert.equal(commandOf(press("b", { target: element("DIV") }), "detail"), "brush");
});

test("a text that is only read takes commands, and leaves the keys that select in it", () => {
  const text = { tagName: "P", getAttribute: (name: string) => (name === "role" ? "textbox" : "true") };
  assert.equal(commandOf(press("1", { target: text }), "detail"), "irrelevant");
  assert.equal(commandOf(press("ArrowRight", { target: text }), "detail"), "next");
  assert.equal(commandOf(press("ArrowRight", { target: text, shiftKey: true }), "detail"), null);
});

test("Enter and Space on a button press it, and other keys still hold there", () => {
  const target = element("BUTTON");
  assert.equal(commandOf(press("Enter", { target }), "rows"), null);
  assert.equal(commandOf(press(" ", { target }), "rows"), null);
  assert.equal(commandOf(press("j", { target }), "rows"), "next");
});

test("keys held with Ctrl, Command or Alt belong to the browser, but for undo and redo", () => {
  for (const held of [{ ctrlKey: true }, { metaKey: true }, { altKey: true }]) {
    assert.equal(commandOf(press("c", held), "detail"), null);
    assert.equal(commandOf(press("ArrowLeft", held), "detail"), null);
  }
  assert.equal(commandOf(press("z", { metaKey: true }), "detail"), "undo");
  assert.equal(commandOf(press("Z", { ctrlKey: true, shiftKey: true }), "rows"), "redo");
  assert.equal(commandOf(press("z", { ctrlKey: true, altKey: true }), "rows"), null);
});

test("Caps Lock changes nothing", () => {
  assert.equal(commandOf(press("Z"), "rows"), "undo");
  assert.equal(commandOf(press("z", { shiftKey: true }), "rows"), "redo");
  assert.equal(commandOf(press("B"), "detail"), "brush");
});

test("signs hold however a keyboard makes them", () => {
  assert.equal(commandOf(press("?", { shiftKey: true }), "rows"), "help");
  assert.equal(commandOf(press("/", { shiftKey: true }), "rows"), "filter");
  assert.equal(commandOf(press("[", { altKey: true }), "detail"), "smaller");
  const altGr = { ctrlKey: true, altKey: true, getModifierState: (key: string) => key === "AltGraph" };
  assert.equal(commandOf(press("]", altGr), "detail"), "larger");
  assert.equal(commandOf(press("+", { ctrlKey: true }), "detail"), null);
});

test("an arrow with Shift is still an arrow", () => {
  assert.equal(commandOf(press("ArrowRight", { shiftKey: true }), "rows"), "next");
});

test("presses that were answered, or that write a letter of another script, give none", () => {
  assert.equal(commandOf(press("b", { defaultPrevented: true }), "detail"), null);
  assert.equal(commandOf(press("b", { isComposing: true }), "detail"), null);
  assert.equal(commandOf(press("и"), "detail"), null);
  assert.equal(commandOf(press("constructor"), "detail"), null);
});

test("keys are shown as keyboards have them", () => {
  assert.deepEqual(["ArrowLeft", "Ctrl+Shift+z", "+", "Escape"].map(shownKey), ["←", "Ctrl+Shift+Z", "+", "Esc"]);
});
