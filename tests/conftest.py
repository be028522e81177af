"""Settings that every test shares."""

import os
import signal
import sys

# Before torch starts its threads: the tests run several processes, whose nets are too small to share work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

settings.register_profile("short", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("soak", deadline=None, max_examples=3000)
settings.load_profile("soak" if os.environ.get("WORKBENCH_SOAK") else "short")

# A shell has what it runs in the background ignore Ctrl+C, which some tests send to themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def command(monkeypatch, capsys):
    """Call it for what a command of `workbench` writes, run in this process: `command("status", path, ends=2).err`."""

    def run(*words, ends=0):
        from workbench.cli import main

        monkeypatch.setattr(sys, "argv", ["workbench", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert ended.value.code == ends, told.err
        return told

    return run


def pytest_collection_modifyitems(items):
    """Leave what is long and needs no look at each change to `make soak`."""
    if not os.environ.get("WORKBENCH_SOAK"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes long: run `make soak`"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep the tests of one server in one process, by the names of their files.

    pytest-xdist 3.8 has marks for that (`xdist_group`), which pytest 9.2 no longer heeds.
    """
    from xdist.scheduler import LoadGroupScheduling

    class ByServer(LoadGroupScheduling):
        def _split_scope(self, nodeid):
            if not nodeid.startswith("tests/browser/"):
                return super()._split_scope(nodeid)
            return "JupyterLab" if nodeid.startswith("tests/browser/test_lab") else "pages"

    return ByServer(config, log) if config.getvalue("dist") == "loadgroup" else None
