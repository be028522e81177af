"""A front-end module on a blank page, with a model that answers as anywidget's does and a Python object behind it."""

import base64
import queue
import traceback
from pathlib import Path

from tests.browser.servers import wait_until

__all__ = ["BarePage"]

ADDRESS = "http://127.0.0.1/bare"  # never asked for: the page is given by the test itself
HTML = "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Bare</title></head><body></body></html>"

# Bytes cross between Python and the page as base64; in the page they are DataViews, as in JupyterLab.
MOUNT = """async ([esm, css, traits]) => {
  const bytes = it => it instanceof ArrayBuffer ? new Uint8Array(it)
    : ArrayBuffer.isView(it) ? new Uint8Array(it.buffer, it.byteOffset, it.byteLength) : null;
  const map = (it, leaf) => leaf(it) ?? (Array.isArray(it) ? it.map(one => map(one, leaf))
    : it !== null && typeof it === "object"
      ? Object.fromEntries(Object.entries(it).map(([name, one]) => [name, map(one, leaf)])) : it);
  const encode = it => map(it, one => bytes(one) && {$bytes: bytes(one).toBase64()});
  const decode = it => map(it, one => one?.$bytes === undefined ? undefined
    : new DataView(Uint8Array.fromBase64(one.$bytes).buffer));

  const state = decode(traits), handlers = new Map(), unsaved = new Set();
  const call = (event, ...args) => [...handlers.get(event) ?? []].forEach(handler => handler(...args));
  const change = (changes, own) => {
    const changed = Object.entries(changes).filter(([name, value]) =>
      JSON.stringify(encode([state[name]])) !== JSON.stringify(encode([value])));
    for (const [name, value] of changed) { state[name] = value; if (own) unsaved.add(name); }
    for (const [name, value] of changed) call("change:" + name, model, value, {});
    if (changed.length) call("change", model, {});
  };
  const hear = ({message, buffers}) => call("msg:custom", message, decode(buffers));
  const model = {
    get: name => state[name],
    set: (name, value) => change(typeof name === "object" ? name : {[name]: value}, true),
    save_changes: () => {
      const names = [...unsaved];
      unsaved.clear();
      if (names.length) window.bareSave(encode(Object.fromEntries(names.map(name => [name, state[name]]))));
    },
    send: (message, callbacks, buffers = []) => {
      window.bareSend(encode(message), encode(buffers)).then(reply => { if (reply) hear(reply); });
    },
    on: (event, handler) => { handlers.set(event, [...handlers.get(event) ?? [], handler]); },
    off: (event, handler) => {
      for (const name of event == null ? handlers.keys() : [event])
        handlers.set(name, (handlers.get(name) ?? []).filter(one => handler != null && one !== handler));
    },
  };

  const style = document.createElement("style");
  style.textContent = css;
  document.head.append(style);
  const exported = (await import(URL.createObjectURL(new Blob([esm], {type: "text/javascript"})))).default;
  const widget = typeof exported === "function" ? await exported() : exported;
  const whole = new AbortController(), views = [];
  const done = await widget.initialize?.({model, signal: whole.signal, experimental: {}});
  window.bare = {
    model, encode,
    async view() {
      const el = document.createElement("div"), one = new AbortController();
      el.dataset.bare = String(views.length);
      document.body.append(el);
      const signal = AbortSignal.any([whole.signal, one.signal]);
      const clean = await widget.render({model, el, signal, experimental: {}});
      views.push(async () => { one.abort(); await clean?.(); el.remove(); });
    },
    async unmount() {
      for (const end of views.splice(0)) await end();
      whole.abort();
      if (typeof done === "function") await done();
    },
    handlers: () => [...handlers.values()].reduce((count, some) => count + some.length, 0),
  };
  await window.bare.view();
  (async () => {
    for (;;) {
      const waiting = await window.bareListen();
      for (const one of waiting) one.state ? change(decode(one.state), false) : hear(one);
      await new Promise(resolve => setTimeout(resolve, waiting.length ? 0 : 20));
    }
  })();
}"""


class BarePage:
    """A page with one widget on it and Python behind it.

    Attributes
    ----------
    page : playwright Page
    traits : dict
        What Python knows of the traits: given to `mount` or `set`, or saved by the page.
    sent : list of (message, buffers)
        What the page has sent, in its order.
    errors : list of str
        What Python raised while it answered; a test that leaves any here fails.
    on_save : callable of (name, value), or None
        Called for each trait that the page saves.
    """

    def __init__(self, page):
        self.page = page
        self.traits, self.sent, self.errors = {}, [], []
        self.on_save = None
        self._answer = None
        self._waiting = queue.SimpleQueue()
        page.route(ADDRESS, lambda route: route.fulfill(body=HTML, content_type="text/html"))
        page.expose_binding("bareSave", self._saved)
        page.expose_binding("bareSend", self._sent)
        page.expose_binding("bareListen", self._listened)

    def mount(self, esm, css="", traits=None, answer=None):
        """Put a module (its text, or the path of it) on the page, and give the element that it draws in.

        `answer(message, buffers)` gives ``(reply, buffers)``, or None for no reply: a `Session.answer` as it is.
        """
        self.traits = dict(traits or {})
        self._answer = answer
        self.page.goto(ADDRESS)
        self.page.evaluate(MOUNT, [_text(esm), _text(css), _encode(self.traits)])
        return self.page.locator("[data-bare='0']")

    def add_view(self):
        """A second view of the same model, as when a notebook shows a widget twice; gives its element."""
        self.page.evaluate("() => window.bare.view()")
        return self.page.locator("[data-bare]").last

    def unmount(self):
        """Take every view off the page, and give the number of handlers that the module left on the model."""
        return self.page.evaluate("async () => { await window.bare.unmount(); return window.bare.handlers(); }")

    def set(self, name, value):
        """Set a trait, as Python does; from any thread."""
        self.traits[name] = value
        self._waiting.put({"state": {name: _encode(value)}})

    def send(self, message, buffers=()):
        """Send the page a message of its own, as an event is; from any thread."""
        self._waiting.put(_message(message, buffers))

    def trait(self, name):
        """A trait as the page has it now."""
        return _decode(self.page.evaluate("name => window.bare.encode(window.bare.model.get(name)) ?? null", name))

    def until(self, look, wanted, *, within=10.0):
        """Wait until something in Python is `wanted` (a value, or a condition on it), with the page running on.

        `look` is the name of a trait, or a callable.
        """
        seen = look if callable(look) else lambda: self.traits.get(look)
        holds = wanted if callable(wanted) else lambda value: value == wanted
        # Bindings are only answered while Playwright waits: sleeping would stop them.
        return wait_until(seen, holds, within=within, pause=lambda: self.page.wait_for_timeout(10))

    def _saved(self, _source, state):
        for name, value in _decode(state).items():
            self.traits[name] = value
            if self.on_save is not None:
                self._guard(self.on_save, name, value)

    def _sent(self, _source, message, buffers):
        message, buffers = _decode(message), _decode(buffers)
        self.sent.append((message, buffers))
        reply = self._guard(self._answer, message, buffers) if self._answer is not None else None
        return None if reply is None else _message(*reply)

    def _listened(self, _source):
        waiting = []
        while not self._waiting.empty():
            waiting.append(self._waiting.get())
        return waiting

    def _guard(self, function, *args):
        try:
            return function(*args)
        except Exception:  # noqa: BLE001 - whatever it is, the test tells it
            self.errors.append(traceback.format_exc())
            return None


def _text(source):
    return source.read_text(encoding="utf-8") if isinstance(source, Path) else str(source)


def _message(message, buffers):
    return {"message": _encode(message), "buffers": [_encode(bytes(one)) for one in buffers]}


def _encode(value):
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {name: _encode(one) for name, one in value.items()}
    return [_encode(one) for one in value] if isinstance(value, list | tuple) else value


def _decode(value):
    if isinstance(value, dict):
        if value.keys() == {"$bytes"}:
            return base64.b64decode(value["$bytes"])
        return {name: _decode(one) for name, one in value.items()}
    return [_decode(one) for one in value] if isinstance(value, list) else value
