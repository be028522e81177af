"""The smallest widget that does all that ours do: a trait each way, and messages with binary buffers each way."""

import threading

import anywidget
import traitlets

__all__ = ["Toy", "answer"]


def answer(message, buffers):
    """Reply to a message of the page: its bytes, backwards, and their sum."""
    data = bytes(buffers[0])
    return {"id": message["id"], "ok": {"sum": sum(data)}}, [data[::-1], b"end"]


class Toy(anywidget.AnyWidget):
    """A button that counts, and one that sends 256 bytes."""

    count = traitlets.Int(0).tag(sync=True)
    # The page sends a memoryview, which Bytes refuses without a word.
    data = traitlets.Bytes(b"").tag(sync=True, from_json=lambda value, widget: bytes(value))

    _esm = r"""
    function render({ model, el }) {
      const make = (tag, testid, text) => {
        const it = document.createElement(tag);
        it.dataset.testid = testid; it.textContent = text; el.append(it);
        return it;
      };
      el.classList.add("wb-toy");
      const count = make("button", "count", ""), ask = make("button", "ask", "Ask");
      const reply = make("output", "reply", ""), heard = make("output", "heard", "");
      const show = () => { count.textContent = `Count ${model.get("count")}`; };
      const hear = (message, buffers) => {
        const bytes = buffers.map(b => [...new Uint8Array(b.buffer, b.byteOffset, b.byteLength)]);
        const to = message.id === undefined ? heard : reply, name = to === heard ? "messages" : "replies";
        to.dataset[name] = Number(to.dataset[name] ?? 0) + 1;
        if (to === heard) heard.textContent += `${message.event} ${bytes.map(b => b.join(" "))};`;
        else reply.textContent = `${message.ok.sum}: ${bytes[0].slice(0, 3)} .. ${String.fromCharCode(...bytes[1])}`;
      };
      count.onclick = () => {
        const n = model.get("count") + 1;
        model.set("count", n);
        model.set("data", new DataView(Uint8Array.from({ length: n }, (_, i) => i).buffer));
        model.save_changes();
      };
      ask.onclick = () => model.send({ id: 7 }, undefined, [Uint8Array.from({ length: 256 }, (_, i) => i).buffer]);
      model.on("change:count", show);
      model.on("msg:custom", hear);
      show();
      return () => { model.off("change:count", show); model.off("msg:custom", hear); };
    }
    export default { render };
    """
    _css = ".wb-toy { display: flex; gap: 8px; }"

    def __init__(self, **traits):
        super().__init__(**traits)
        self.answered_by = None  # name of the thread that answered last
        self.on_msg(self._answer)

    def _answer(self, _widget, message, buffers):
        self.send(*answer(message, buffers))
        self.answered_by = threading.current_thread().name

    def tell_from_a_thread(self, times=1):
        """Send messages, and set a trait, from a thread that has no cell."""

        def tell():
            for number in range(times):
                self.send({"event": f"told-{number}"}, [bytes([number % 256, 255])])
            self.count = 100

        thread = threading.Thread(target=tell)
        thread.start()
        return thread
