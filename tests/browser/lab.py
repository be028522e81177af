"""A JupyterLab server, and a notebook in a page of it: cells run, the kernel asked, restarted and killed."""

import ast
import json
import os
import re
import secrets
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.servers import environment, free_port, serve, wait_until

__all__ = ["KernelError", "KernelErrors", "Lab", "Notebook", "start_lab"]

SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "checkForUpdates": False,
        "fetchNews": "false",
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}

# What a widget's handler raises (a trait that refuses a value, say) reaches no cell's output: ipywidgets hands it to
# showtraceback, comm to its logger, and a thread to excepthook. All of it goes to a file that the tests read.
STARTUP = """
def _log_errors(shell, path):
    import logging, sys, threading, traceback
    handler = logging.FileHandler(path)
    handler.setLevel(logging.ERROR)
    logging.getLogger().addHandler(handler)
    def write(*raised):
        with open(path, "a") as file:
            file.write("".join(traceback.format_exception(*raised)))
    shown = shell.showtraceback
    def showtraceback(exc_tuple=None, *rest, **named):
        write(*(exc_tuple or sys.exc_info()))
        return shown(exc_tuple, *rest, **named)
    shell.showtraceback = showtraceback
    threading.excepthook = lambda raised: write(raised.exc_type, raised.exc_value, raised.exc_traceback)
_log_errors(get_ipython(), {path!r})
del _log_errors
"""

# JupyterLab asks for the target at each start of a kernel, before ipywidgets is imported; and a kernel that is told to
# end while another message comes in leaves it.
HARMLESS = re.compile(
    r"No such comm target registered: jupyter\.widget\.control\n"
    r"|Task was destroyed but it is pending!\n"
    r"task: <Task pending .*(?:Kernel\.dispatch_control|ipykernel.(?:utils|kernelbase)\.py).*>\n"
)

# `jupyterapp` is there because of --LabApp.expose_app_in_browser. The execution indicator will not do: it says "idle"
# before there is a kernel, and "run all" then opens a dialog that asks for one.
IDLE = """path => {
  const w = window.jupyterapp?.shell?.currentWidget, kernel = w?.sessionContext?.session?.kernel;
  return w?.context?.path === path && w.context.isReady && kernel?.status === "idle"
      && kernel.connectionStatus === "connected";
}"""

COMMAND = "([name, args]) => window.jupyterapp.commands.execute(name, args).then(result => result !== false)"

ERRORS = """() => window.jupyterapp.shell.currentWidget.content.widgets.flatMap(cell =>
  (cell.model.outputs?.toJSON() ?? []).filter(o => o.output_type === "error").map(o => o.traceback.join("\\n")))"""

EXECUTE = """async ([code, expression]) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({code, silent: false, store_history: false, stop_on_error: false,
                                        user_expressions: expression === null ? {} : {value: expression}});
  const said = {text: "", error: null, value: null};
  future.onIOPub = ({header, content}) => {
    if (header.msg_type === "stream") said.text += content.text;
    if (header.msg_type === "error") said.error = content.traceback.join("\\n");
  };
  const {content} = await future.done;
  const value = content.user_expressions?.value;
  if (value?.status === "ok") said.value = value.data["text/plain"];
  else if (value) said.error ??= value.traceback.join("\\n");
  return said;
}"""

START = """code => {
  window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code, store_history: false});
}"""

# Arrays and numpy numbers as lists and numbers, anything else as its repr.
VALUE = (
    "__import__('json').dumps(({expression}), default=lambda it: it.tolist() if hasattr(it, 'tolist') else repr(it))"
)


CLOSE = """async path => {
  for (const widget of [...window.jupyterapp.shell.widgets("main")].filter(one => one.context?.path === path)) {
    await widget.sessionContext.shutdown();
    widget.dispose();
  }
}"""


class KernelError(AssertionError):
    """Code that a test ran in the kernel raised."""


@dataclass
class Lab:
    """A running JupyterLab.

    Attributes
    ----------
    address, token : str
        Where it is, and what it asks for.
    work : Path
        Its root directory, which is also where kernels run.
    log, error_log : Path
        What the server printed; what handlers and threads raised in the kernels.
    seconds : float
        From its start to its first answer.
    """

    address: str
    token: str
    work: Path
    log: Path
    error_log: Path
    seconds: float
    _opened: int = 0

    def open(self, page, cells, *, name=None, run=True, within=90.0):
        """Write a notebook of these cells, open it in the page, run it, and give it.

        A page that shows JupyterLab already gets one tab more. Raises `KernelError` where a cell does.
        """
        self._opened += 1
        name = name or f"notebook-{self._opened}.ipynb"
        (self.work / name).write_text(json.dumps(_notebook(cells)), encoding="utf-8")
        opened = Notebook(self, page, name)
        if page.url.startswith(self.address):  # already JupyterLab: a tab more takes 3 s, a page of its own 8 s
            opened.command("docmanager:open", path=name)
        else:
            address = f"{self.address}/lab/workspaces/{self._opened}/tree/{name}"  # two pages may not share one
            page.goto(f"{address}?reset&token={self.token}", wait_until="domcontentloaded")
        opened.wait(within=within)
        if run:
            opened.run_all()
        return opened


class KernelErrors:
    """What handlers and threads raised in the kernels since this began, or since `forget`: call it for the text."""

    def __init__(self, lab):
        self._log = lab.error_log
        self.forget()

    def __call__(self):
        return HARMLESS.sub("", self._read()[self._since :].decode("utf-8", "replace"))

    def forget(self):
        """Leave out what there is."""
        self._since = len(self._read())

    def _read(self):
        return self._log.read_bytes() if self._log.exists() else b""


@dataclass
class Notebook:
    """A notebook that is open in a page. `view` locates it there; look for widgets under it."""

    lab: Lab
    page: object
    name: str

    @property
    def view(self):
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    @property
    def path(self):
        return self.lab.work / self.name

    def wait(self, *, within=60.0):
        """Wait until its kernel is connected and idle."""
        expect(self.view).to_be_visible(timeout=within * 1000)
        self.page.wait_for_function(IDLE, arg=self.name, timeout=within * 1000)

    def command(self, name, **args):
        """Run a command of JupyterLab, as its menus do."""
        assert self.page.evaluate(COMMAND, [name, args]), f"JupyterLab did not do {name}"

    def run_all(self):
        """Run every cell, wait until the last has ended, and raise what a cell raised."""
        self.page.evaluate(COMMAND, ["notebook:run-all-cells", {}])
        self._raise(self.page.evaluate(ERRORS))

    def run(self, code):
        """Run code in the kernel, outside of any cell, and give what it printed."""
        return self._execute(code, None)["text"]

    def start(self, code):
        """Begin to run code in the kernel, as a long cell is, and go on."""
        self.page.evaluate(START, code)

    def value(self, expression):
        """Value of a Python expression in the kernel, through JSON; arrays come as lists."""
        said = self._execute("", VALUE.format(expression=expression))
        return json.loads(ast.literal_eval(said["value"]))

    def until(self, expression, wanted, *, within=15.0):
        """Ask the kernel for an expression until it is `wanted` (a value, or a condition on it), and give it.

        Asking once will not do: JupyterLab has a widget's messages handled by a thread beside that of the cells.
        """
        holds = wanted if callable(wanted) else lambda value: value == wanted
        return wait_until(lambda: self.value(expression), holds, within=within)

    def restart(self, *, run=True):
        """Restart the kernel; `run` then runs every cell. Widgets of the old kernel stay in the page until then."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        self.wait()
        if run:
            self.run_all()

    def kill(self):
        """Kill the kernel's process, as running out of memory does. The server starts another by itself: `wait`."""
        pid = self.value("__import__('os').getpid()")
        os.kill(pid, signal.SIGKILL)
        self.page.wait_for_function(
            "path => !(" + IDLE + ")(path) || window.jupyterapp.shell.currentWidget"
            ".sessionContext.session.kernel.status !== 'idle'",
            arg=self.name,
            timeout=30_000,
        )
        self.dismiss()

    def dismiss(self):
        """Close the dialog that tells of a dead kernel."""
        button = self.page.locator(".jp-Dialog .jp-mod-accept")
        button.click()
        expect(button).to_have_count(0)

    def save(self):
        """Save the notebook with its outputs."""
        self.command("docmanager:save")

    def reload(self, *, save=True):
        """Reload the page, as F5 does, with the kernel running on; `save` first, without which outputs are gone."""
        if save:
            self.save()
        self.page.reload(wait_until="domcontentloaded")
        self.wait()

    def close(self):
        """End its kernel and close its tab, without questions."""
        self.page.evaluate(CLOSE, self.name)

    def _execute(self, code, expression):
        said = self.page.evaluate(EXECUTE, [code, expression])
        self._raise([said["error"]] if said["error"] else [])
        return said

    def _raise(self, tracebacks):
        if tracebacks:
            raise KernelError("the kernel raised:\n" + "\n".join(tracebacks))


def _notebook(cells):
    # By hand: importing nbformat takes 3 s, in each process that collects tests.
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {},
                "source": cell.strip(),
                "outputs": [],
                "execution_count": None,
            }
            for number, cell in enumerate(cells)
        ],
    }


@contextmanager
def start_lab(root):
    """A JupyterLab in a directory of its own, until the block ends."""
    home, work, app_settings = root / "home", root / "work", root / "settings"
    startup = home / "ipython" / "profile_default" / "startup"
    for directory in (work, app_settings, startup):
        directory.mkdir(parents=True)
    (app_settings / "overrides.json").write_text(json.dumps(SETTINGS))
    error_log = root / "kernel-errors.log"
    (startup / "00-errors.py").write_text(STARTUP.format(path=str(error_log)))
    token, port = secrets.token_hex(16), free_port()
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"),
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={work}",
        "--ServerApp.terminals_enabled=False",
        "--ServerApp.jpserver_extensions=jupyter_lsp=False",  # it starts Node to look for language servers
        f"--LabApp.app_settings_dir={app_settings}",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        "--LabApp.expose_app_in_browser=True",
        "--KernelManager.shutdown_wait_time=2",
    ]
    address = f"http://127.0.0.1:{port}"
    log = root / "lab.log"
    status = f"{address}/api/status?token={token}"
    with serve(command, address=status, log=log, env=environment(home), cwd=work) as seconds:
        yield Lab(address, token, work, log, error_log, seconds)
