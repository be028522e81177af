// What anywidget loads: one view of a panel for each cell that shows it.

import { render as draw } from "preact";
import { App } from "./app";
import { openStore } from "./store";
import type { Model } from "./wire";

function render({ model, el }: { model: Model; el: HTMLElement }) {
  const store = openStore(model);
  draw(<App store={store} />, el);
  return () => {
    draw(null, el);
    store.close();
  };
}

export default { render };
