"""Sessions, asked as a page asks: what is shown, what is told again, and what others write, from several threads."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from columns import ImageColumn, ScalarColumn
from workbench import Classifier, DataPanel, Feedback
from workbench.widgets import watching
from workbench.widgets.session import Session

QUICK = 20.0  # seconds after which a test gives up


class Page:
    """What a page would hear of a session, and what it would ask."""

    def __init__(self, *args, **settings):
        self.heard = []
        self.session = Session(*args, **settings, tell=self.heard.append)
        self.number = 0

    def ask(self, do, **fields):
        self.number += 1
        reply, buffers = self.session.answer({"id": self.number, "do": do, **fields})
        self.session.audience.look_at_log(reply)
        assert reply["id"] == self.number
        return reply.get("ok", reply.get("error")), buffers

    def events(self, name):
        return [event for event in list(self.heard) if event["event"] == name]

    def wait(self, job):
        return self.session.jobs.wait(job, QUICK)


@pytest.fixture
def panel():
    pictures = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(0)).numpy()
    grey = (pictures[:, 0] * 255).astype(np.uint8)
    labels = ["dark" if value < 128 else "light" for value in grey.mean(axis=(1, 2))]
    values = {"image": ImageColumn(grey), "label": ScalarColumn(labels).as_category(("dark", "light"))}
    return DataPanel({**values, "age": list(range(40))}, origin="toy")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2)), ("dark", "light"))


@pytest.fixture
def log(tmp_path):
    return Feedback(tmp_path / "log.db", author="ada")


@pytest.fixture
def page(panel, model, log):
    page = Page(panel, model, log)
    yield page
    page.session.close()


def box(*counts):
    return {"height": 6, "width": 6, "counts": list(counts)}


def until(holds):
    end = time.monotonic() + QUICK
    while not holds():
        assert time.monotonic() < end, "this never came to hold"
        time.sleep(0.01)


# What is shown


def test_a_filter_that_cannot_be_read_stays_told_until_there_is_another(page):
    page.session.narrow("age < 10", {}, None)
    page.session.narrow("agee < 10", {}, None)
    page.ask("figures")
    page.session.computed()
    assert all("agee" in event["error"] for event in page.events("shown")[1:])
    assert page.events("shown")[-1]["count"] == 10
    page.session.narrow("", {}, None)
    assert page.events("shown")[-1]["error"] is None


def test_what_could_not_be_shown_is_shown_once_its_column_is_computed(page):
    brushes = {"prediction": {"values": ["dark"]}}
    assert "not computed yet" in page.session.narrow("", brushes, None)
    told, _ = page.ask("compute", column="prediction")
    page.wait(told["job"])
    shown = page.events("shown")[-1]
    assert shown["error"] is None
    assert shown["count"] == page.session.panel["prediction"].label.to_list().count("dark")


def test_the_version_of_what_is_shown_only_grows_even_as_columns_are_added(page):
    page.session.narrow("age < 30", {}, {"by": "age", "ascending": False})
    page.session.add("odd", [row % 2 for row in range(40)])
    versions = [event["version"] for event in page.events("shown")]
    assert versions == sorted(versions)
    told, _ = page.ask("page", start=0, count=3, cells=["odd"])
    assert told["rows"] == [29, 28, 27]
    assert told["cells"]["odd"] == [1, 0, 1]


def test_rows_are_asked_for_while_columns_and_filters_change_in_other_threads(page):
    raised, ends = [], threading.Event()

    def change():
        for number in range(30):
            page.session.add(f"extra{number}", list(range(40)))
            page.session.narrow(f"age < {number + 5}", {"label": {"values": ["dark"]}}, None)
            page.ask("slice", name=f"slice {number}", of="filter")
        ends.set()

    def look():
        while not ends.is_set():
            page.session.about()
            with page.session.lock:
                page.session.slices.listed()
            for do, fields in [("page", {"start": 0, "count": 40, "cells": ["age", "label"]}), ("mask", {})]:
                reply, _ = page.session.answer({"id": 1, "do": do, **fields})
                if "error" in reply:
                    raised.append(reply)

    threads = [threading.Thread(target=work) for work in (change, look, look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ends.is_set()
    assert raised == []
    assert len(page.session.slices) > 0


# What is told again


def test_a_page_that_is_opened_later_hears_of_jobs_and_trainings_again(page):
    for row in range(12):
        page.ask("mark", row=row, irrelevant=box(0, 4, 32), relevant=None)
    train, _ = page.ask("train", loss="swap", weights="all", steps=8)
    ended = page.wait(train["job"])
    assert ended["state"] == "done", ended["words"]
    page.ask("keep", job=train["job"])
    page.heard.clear()
    page.ask("figures")
    steps = [step[0] for event in page.events("steps") for step in event["steps"]]
    assert steps == list(range(1, 9))
    assert page.events("compared")[0]["job"] == train["job"]
    assert [(event["job"], event["how"]) for event in page.events("settled")] == [(train["job"], "kept")]
    assert {event["kind"]: event["state"] for event in page.events("job")}["train"] == "done"
    assert page.events("shown")


# What is written


def test_a_stroke_is_told_to_all_pages_with_the_number_of_the_request_that_wrote_it(page):
    page.ask("mark", row=3, irrelevant=box(0, 4, 32), relevant=None)
    assert page.events("saved") == [{"event": "saved", "version": 1, "by": 1}]
    page.ask("page", start=0, count=3)
    page.ask("undo")
    assert [event["by"] for event in page.events("saved")] == [1, None]


def test_what_others_wrote_meanwhile_is_nobodys_own(page, panel):
    other = Feedback(page.session.marking.feedback.path, author="bob")
    other.mark(panel.key[5], irrelevant=np.ones((6, 6), bool))
    page.ask("mark", row=3, irrelevant=box(0, 4, 32), relevant=None)
    assert page.events("saved") == [{"event": "saved", "version": 2, "by": None}]


def test_a_log_is_watched_while_a_page_is_open_and_no_longer(page, panel, monkeypatch):
    monkeypatch.setattr(watching, "EVERY", 0.02)
    other = Feedback(page.session.marking.feedback.path, author="bob")
    page.ask("figures")
    other.mark(panel.key[5], irrelevant=np.ones((6, 6), bool))
    until(lambda: page.events("saved"))
    assert page.ask("page", start=5, count=1)[0]["marks"] == [1]
    page.ask("leave")
    until(lambda: watching._thread is None)
    other.mark(panel.key[6], irrelevant=np.ones((6, 6), bool))
    assert len(page.events("saved")) == 1


def test_views_of_one_log_write_at_once_and_lose_nothing(panel, model, log):
    pages = [Page(panel, model, log) for _ in range(3)]

    def paint(number):
        for row in range(number, 30, 3):
            told, _ = pages[number].ask("mark", row=row, irrelevant=box(0, 1 + row % 6, 35 - row % 6), relevant=None)
            assert told["ids"], told

    threads = [threading.Thread(target=paint, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(log.records(kind="rationale")) == 30
    for page in pages:
        assert page.ask("page", start=0, count=40)[0]["marks"] == [1] * 30 + [0] * 10
        page.session.close()


def test_after_it_is_closed_a_session_answers_no_job_and_raises_nothing(page, caplog):
    page.session.close()
    for do, fields in [("compute", {"column": "prediction"}), ("cluster", {}), ("figures", {})]:
        page.ask(do, **fields)
    assert "closed" in page.ask("compute", column="prediction")[0]
    assert not caplog.records


AT_THE_END = """
import threading
import numpy as np, workbench as wb
from columns import ImageColumn
from workbench.widgets.session import Session
session = Session(wb.DataPanel({"image": ImageColumn(np.zeros((20, 8, 8), np.uint8))}, origin="end"))
page = {"do": "page", "start": 0, "count": 20, "pictures": {"column": "image", "size": 32}, "cells": []}
assert "ok" in session.answer({"id": 1, **page})[0]
def late():
    threading.main_thread().join()  # from here on no pool takes work
    print(sorted(session.answer({"id": 2, **page})[0]))
threading.Thread(target=late).start()
"""


def test_a_question_that_comes_while_the_process_ends_is_no_error_in_its_log():
    done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("['error', 'id']\n", "")
