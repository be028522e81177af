"""Notebook servers of our own: a home that knows nothing of the user, a free port, and a process group to end."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["environment", "free_port", "kernel_says", "serve", "wait_until"]

REPOSITORY = Path(__file__).parents[2]


def free_port():
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as a_socket:
        a_socket.bind(("127.0.0.1", 0))
        return a_socket.getsockname()[1]


def environment(home):
    """What a server sees: no configuration, kernels or state of the user; the repository is importable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "PYTEST", "MARIMO"))}
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "share"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
        "JUPYTER_DATA_DIR": str(home / "jupyter-data"),
        "JUPYTER_RUNTIME_DIR": str(home / "run"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "lab-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "lab-workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }


@contextmanager
def serve(command, *, address, log, env, cwd=None, within=90.0):
    """Run a server until the block ends; its whole process group ends with it.

    The block begins when `address` answers. Gives the seconds that this took.
    """
    began = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not _answers(address):
            if process.poll() is not None or time.monotonic() - began > within:
                pytest.fail(f"the server did not come up:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        yield time.monotonic() - began
    finally:
        _end(process)


def _answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as reply:
            reply.read()
    except urllib.error.HTTPError as refused:
        refused.close()
        return False
    except OSError:
        return False
    return True


def _end(process):
    for how, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, how)
            process.wait(seconds)
        except ProcessLookupError:
            process.wait()
            return
        except subprocess.TimeoutExpired:
            continue


def wait_until(look, holds, *, within=15.0, pause=lambda: time.sleep(0.05)):
    """Look until what is seen meets the condition, and give it; fail with the last that was seen."""
    end = time.monotonic() + within
    while True:
        seen = look()
        if holds(seen):
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"not met within {within:g} s; last seen: {seen!r}")
        pause()


def kernel_says(path, holds, *, within=15.0):
    """Wait until the JSON that the kernel itself wrote to a file meets a condition, and give it.

    Examples
    --------
    In a cell, `widget.observe(lambda change: probe(...), "selection")`, where `probe` writes the file; in the test,
    ``kernel_says(lab.work / "probe.json", lambda said: said["selection"] == [2, 5])``.
    """

    def read():
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not yet written, or half of it
            return None

    return wait_until(read, lambda said: said is not None and holds(said), within=within)
