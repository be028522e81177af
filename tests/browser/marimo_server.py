"""A marimo editor, and notebooks in it."""

import sys
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.servers import environment, free_port, serve

__all__ = ["Marimo", "start_marimo"]

# Cells run when a notebook opens; nothing is saved, suggested, or fetched.
SETTINGS = """
[runtime]
auto_instantiate = true
[save]
autosave = "off"
[completion]
activate_on_typing = false
copilot = false
[ai]
enabled = false
"""


@dataclass
class Marimo:
    """A running marimo editor.

    Attributes
    ----------
    address : str
    work : Path
        Its directory, which is also where notebooks run.
    log : Path
        What the server and the notebooks printed.
    seconds : float
        From its start to its first answer.
    """

    address: str
    work: Path
    log: Path
    seconds: float
    _opened: int = 0

    def open(self, page, cells, *, ready, within=60.0):
        """Write a notebook of these cells, open it in the page, where it runs, and give the locator `ready`.

        `ready` is a CSS selector of something that the cells show.
        """
        self._opened += 1
        path = self.work / f"notebook_{self._opened}.py"
        body = "".join(
            f"@app.cell\ndef _():\n{textwrap.indent(cell.strip(), '    ')}\n    return\n\n\n" for cell in cells
        )
        path.write_text(
            f'import marimo\n\napp = marimo.App()\n\n\n{body}if __name__ == "__main__":\n    app.run()\n',
            encoding="utf-8",
        )
        page.goto(f"{self.address}/?file={path.name}", wait_until="domcontentloaded")
        shown = page.locator(ready)
        expect(shown.first).to_be_visible(timeout=within * 1000)
        return shown


@contextmanager
def start_marimo(root):
    """A marimo editor in a directory of its own, until the block ends."""
    home, work = root / "home", root / "work"
    (home / "config").mkdir(parents=True)
    work.mkdir()
    (home / ".marimo.toml").write_text(SETTINGS)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    log = root / "marimo.log"
    command = [
        *(sys.executable, "-m", "marimo", "-q", "-y", "edit", str(work)),
        *("--headless", "--host", "127.0.0.1", "--port", str(port), "--no-token", "--skip-update-check"),
    ]
    with serve(command, address=f"{address}/health", log=log, env=environment(home), cwd=work) as seconds:
        yield Marimo(address, work, log, seconds)
