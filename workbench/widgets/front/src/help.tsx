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
        Click a row to look at it; with Ctrl or ⌘ add it to the selection, with Shift all up to it. Blue: must not matter. Green:
        should matter. What the foot calls saved is on the disk.
      </p>
      <button type="button" onClick={() => (store.open.value = "")}>close</button>
    </div>
  );
}
