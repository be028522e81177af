"""What the other tests of JupyterLab stand on: a widget, its kernel, and threads in it."""

import pytest
from playwright.sync_api import expect

from tests.browser.lab import KernelError
from tests.browser.servers import kernel_says, wait_until

TOY = """
from tests.browser.toy import Toy
toy = Toy()
toy
"""
PROBE = """
import json, pathlib
def probe(change=None):
    pathlib.Path("probe.json").write_text(json.dumps({"count": toy.count, "data": list(toy.data)}))
toy.observe(probe, "count")
"""


def test_a_widget_and_its_kernel_hear_each_other(notebook, lab):
    opened = notebook([TOY, PROBE])
    view = opened.view
    count, heard = view.get_by_test_id("count"), view.get_by_test_id("heard")

    count.click()
    count.click()
    kernel_says(lab.work / "probe.json", lambda said: said == {"count": 2, "data": [0, 1]})
    opened.until("[toy.count, list(toy.data)]", [2, [0, 1]])

    opened.run("toy.count = 41")
    expect(count).to_have_text("Count 41")

    view.get_by_test_id("ask").click()
    expect(view.get_by_test_id("reply")).to_have_text("32640: 255,254,253 .. end")

    opened.run("thread = toy.tell_from_a_thread(3)")
    expect(heard).to_have_text("told-0 0 255;told-1 1 255;told-2 2 255;")
    expect(count).to_have_text("Count 100")
    assert opened.page.outside == []


@pytest.mark.long
def test_a_widget_is_heard_while_a_cell_runs(notebook):
    opened = notebook([TOY, "import threading, time"])
    view = opened.view

    def ask():
        view.get_by_test_id("ask").click()
        return opened.value("toy.answered_by")

    # JupyterLab sends the messages of widgets to a thread beside that of the cells, all but the first of them.
    wait_until(ask, lambda thread: thread and thread != "MainThread")
    opened.start(
        "end = time.time() + 10\nwhile toy.count == 0 and time.time() < end:\n    time.sleep(0.02)\nseen = toy.count"
    )
    view.get_by_test_id("count").click()
    opened.until("seen", 1)


@pytest.mark.long
def test_messages_from_a_thread_arrive_while_a_cell_runs_and_after_it(notebook, lab):
    opened = notebook([TOY, "import pathlib, threading, time"])
    heard = opened.view.get_by_test_id("heard")
    opened.start("toy.tell_from_a_thread()\nwhile not pathlib.Path('heard').exists():\n    time.sleep(0.02)")
    expect(heard).to_have_text("told-0 0 255;")
    (lab.work / "heard").touch()
    opened.run("threading.Timer(0.2, toy.tell_from_a_thread, [300]).start()")
    expect(heard).to_have_attribute("data-messages", "301")


@pytest.mark.long
def test_a_widget_outlives_a_reload_and_a_kernel_may_die(notebook, kernel_errors):
    opened = notebook([TOY])
    opened.view.get_by_test_id("count").click()
    opened.until("toy.count", 1)
    opened.reload()
    expect(opened.view.get_by_test_id("count")).to_have_text("Count 1")

    opened.kill()
    opened.wait()
    with pytest.raises(KernelError, match="NameError"):
        opened.value("toy.count")
    kernel_errors.forget()
    opened.run_all()
    expect(opened.view.get_by_test_id("count")).to_have_text("Count 0")
    opened.restart()
    assert opened.value("toy.count") == 0


def test_what_a_handler_raises_is_found_in_the_log(notebook, kernel_errors):
    opened = notebook([TOY, "toy.on_msg(lambda *_: 1 / 0)"])
    opened.view.get_by_test_id("ask").click()
    expect(opened.view.get_by_test_id("reply")).to_have_text("32640: 255,254,253 .. end")
    wait_until(kernel_errors, lambda text: "ZeroDivisionError" in text)
    kernel_errors.forget()


def test_what_a_cell_raises_is_raised_here(notebook, kernel_errors):
    with pytest.raises(KernelError, match="no such name"):
        notebook(["raise NameError('no such name')"])
    kernel_errors.forget()
