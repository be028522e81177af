// Help: every key and what it does.

import { COMMANDS, shownKey } from "./keys";
import type { Store } from "./store";

/** The table of keys. */
export function Help({ store }: { store: Store }) {
  return (
    <div class="wb-help" data-testid="help">
      <h3>Keys</h3>
      <dl>
        {COMMANDS.map((command) => (
          <div key={command.id} class="wb-pair">
            <dt>{command.keys.map((key) => <kbd key={key}>{shownKey(key)}</kbd>)}</dt>
            <dd>{command.words}</dd>
          </div>
        ))}
      </dl>
      <p class="wb-small">
        On the picture, the arrow keys move the tool by a pixel, with Shift by a tenth; Space puts it down and lifts it; Escape
        lets go of what was begun. In a text, the arrow keys select a word, with Shift a character more, with Ctrl and Shift a
        word more; Enter marks it. On a facet, the arrow keys move an end of the range; on the edge of a column, its width. On the
        map, + − 0 zoom and Shift with an arrow moves it; with the lasso on, arrows go, Space sets a corner, and Enter selects,
        with Ctrl also what was selected, with Alt without what it goes around.
      </p>
      <p class="wb-small">
        Click a row to look at it; with Ctrl or ⌘ add it to the selection, with Shift all up to it. Blue: must not matter. Green:
        should matter. What the foot calls saved is on the disk.
      </p>
      <button type="button" onClick={() => (store.open.value = "")}>close</button>
    </div>
  );
}
