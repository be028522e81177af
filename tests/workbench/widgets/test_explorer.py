"""The view as Python has it: its traits are set, read and observed, and what they may not be is refused in words."""

import threading
import time

import numpy as np
import pytest
import torch
import traitlets

import workbench as wb
from columns import ImageColumn
from workbench.errors import PanelError, RunError
from workbench.widgets import desk, telling
from workbench.widgets.explorer import Explorer

QUICK = 20.0  # seconds after which a test gives up


@pytest.fixture
def panel():
    pictures = np.arange(20 * 36, dtype=np.uint8).reshape(20, 6, 6)
    return wb.DataPanel({"image": ImageColumn(pictures), "age": list(range(20, 40))}, origin="toy")


@pytest.fixture
def log(tmp_path):
    return wb.Feedback(tmp_path / "log.db", author="ada")


@pytest.fixture
def view(panel, log):
    view = wb.explore(panel, feedback=log)
    sent = []
    view.send = lambda content, buffers=None: sent.append((content, buffers))
    view.told = sent
    yield view
    view.close()


def until(holds):
    end = time.monotonic() + QUICK
    while not holds():
        assert time.monotonic() < end, "this never came to hold"
        time.sleep(0.01)


def replies(view):
    return {content["id"]: content for content, _ in list(view.told) if "id" in content}


def ask(view, number, do, **fields):
    view._handle_custom_msg({"id": number, "do": do, **fields}, [])


# Rows


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ([3, 1, 3], [1, 3]),
        (np.array([5, 2], np.int64), [2, 5]),
        (np.arange(20) % 10 == 0, [0, 10]),
        ([number == 4 for number in range(20)], [4]),
        ((19,), [19]),
        ([], []),
        (range(3), [0, 1, 2]),
        (memoryview(np.array([1, 2], "<u4").tobytes()), [1, 2]),
    ],
)
def test_rows_are_selected_by_numbers_by_a_mask_or_by_the_bytes_of_a_page(view, given, rows):
    view.selection = given
    assert view.selection.tolist() == rows
    assert view.selection.dtype == np.uint32
    assert not view.selection.flags.writeable
    assert view.selected["age"].to_list() == [20 + row for row in rows]


@pytest.mark.parametrize(
    "given", [[20], [-1], [0.5], ["a"], None, [None], [True, False], b"abc", [2**40], object(), [[1, 2], [3]]]
)
def test_what_are_no_rows_of_the_panel_is_refused_and_changes_nothing(view, given):
    view.selection = [7]
    with pytest.raises(traitlets.TraitError):
        view.selection = given
    assert view.selection.tolist() == [7]


def test_observers_of_the_selection_hear_of_other_rows_only(view):
    heard = []
    view.observe(lambda change: heard.append((change["old"].tolist(), change["new"].tolist())), "selection")
    view.selection = [1, 2]
    view.selection = np.array([2, 1, 1])
    view.set_state({"selection": memoryview(np.array([1, 2], "<u4").tobytes())})
    view.set_state({"selection": memoryview(np.array([4], "<u4").tobytes())})
    view.set_state({"selection": memoryview(np.array([4], "<u4").tobytes())})
    assert heard == [([], [1, 2]), ([1, 2], [4])]


def test_the_row_in_focus_is_any_whole_number_of_a_row(view):
    for given, row in [(3, 3), (np.int64(5), 5), (None, None), (np.uint32(0), 0)]:
        view.focus = given
        assert view.focus == row
        assert row is None or type(view.focus) is int
    for bad in (20, -1, 1.5, "3", True):
        with pytest.raises(traitlets.TraitError, match="Rows of this panel"):
            view.focus = bad
    view.show([9, 4], view="table")
    assert (view.focus, view.selection.tolist(), view.layout["view"]) == (4, [4, 9], "table")


# What is shown


def test_filter_facets_and_order_decide_what_is_shown(view):
    view.filter = "age >= 30"
    view.brushes = {"age": {"low": 20, "high": 35}}
    view.layout = {"sort": {"by": "age", "ascending": False}}
    assert view.shown["age"].to_list() == [34, 33, 32, 31, 30]
    view.brushes, view.filter = {}, ""
    assert len(view.shown) == 20


def test_a_filter_that_cannot_be_answered_is_told_when_rows_are_asked_for(view):
    view.filter = "agee > 3"
    with pytest.raises(PanelError, match="age"):
        view.shown
    until(lambda: any(content.get("error") for content, _ in view.told if content.get("event") == "shown"))
    view.filter = "age > 38"
    assert len(view.shown) == 1


def test_a_layout_is_changed_part_by_part(view):
    seen = []
    view.observe(lambda change: seen.append(change["new"]["tile"]), "layout")
    view.layout = {"tile": 128}
    view.layout = {"view": "table", "columns": ("age",)}
    assert view.layout == {**view.view_layout}
    assert (view.layout["tile"], view.layout["view"], view.layout["columns"]) == (128, "table", ["age"])
    view.view_layout = {**view.view_layout, "tile": 64}
    assert view.layout["tile"] == 64
    assert seen == [128, 128, 64]


@pytest.mark.parametrize(
    "given",
    [
        {"tiles": 3}, {"view": "list"}, {"tile": 4}, {"tile": "96"}, {"tile": True}, {"tile": float("nan")},
        {"overlay": 1}, {"opacity": 1.5}, {"method": None}, {"sort": "age"}, {"colour": 3}, {"columns": "age"},
        {"columns": [1]}, {"height": 10},
    ],
)  # fmt: skip
def test_what_no_layout_has_is_refused_and_changes_nothing(view, given):
    before = view.layout
    with pytest.raises(traitlets.TraitError):
        view.layout = given
    assert view.layout == before


def test_an_order_by_no_column_is_told_and_the_rows_stay_as_they_were(view):
    view.layout = {"sort": {"by": "no such", "ascending": True}}
    until(lambda: any("no such" in str(content.get("error")) for content, _ in view.told))
    with pytest.raises(PanelError):
        view.shown


def test_a_view_without_a_page_is_a_picture_and_a_line(view):
    data, _ = view._repr_mimebundle_()
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert "20 rows" in data["text/html"]
    assert "<script" not in data["text/html"]
    assert repr(view) == data["text/plain"] == "Explorer of 20 rows: image, age"


# Messages


def test_messages_are_answered_beside_the_thread_that_brings_them(view):
    ask(view, 1, "page", start=0, count=3, cells=["age"])
    ask(view, 2, "no such action")
    until(lambda: len(replies(view)) == 2)
    assert replies(view)[1]["ok"]["cells"]["age"] == [20, 21, 22]
    assert "no such action" in replies(view)[2]["error"]


def test_strokes_are_written_in_the_order_in_which_they_were_painted(view, log):
    for number in range(1, 21):
        counts = [0, number, 36 - number]
        ask(view, number, "mark", row=2, irrelevant={"height": 6, "width": 6, "counts": counts}, relevant=None)
    until(lambda: len(replies(view)) == 20)
    assert [record.region.size for record in log.records(kind="rationale", standing=False)] == list(range(1, 21))
    told = [content for content, _ in view.told if content.get("event") == "saved"]
    assert [event["by"] for event in told] == list(range(1, 21))


def test_a_look_that_is_stopped_before_it_begins_is_answered(view):
    begun, go = threading.Event(), threading.Event()

    def work(task):
        begun.set()
        go.wait(QUICK)

    view._session.jobs.start("compute", work)
    begun.wait(QUICK)
    ask(view, 5, "reach", to="all", role="irrelevant")
    until(lambda: any(content.get("kind") == "look" for content, _ in view.told))
    (job,) = {content["job"] for content, _ in view.told if content.get("kind") == "look"}
    view._session.jobs.stop(job)
    assert "Stopped" in replies(view)[5]["error"]
    go.set()


def test_a_view_that_is_closed_says_so_and_its_threads_end(view):
    ask(view, 1, "page", start=0, count=3)
    until(lambda: 1 in replies(view))
    threads = [*view._session.jobs._desk.threads, view._session.jobs._teller._desk.thread]
    assert all(thread.is_alive() for thread in threads if thread)
    view.close()
    view.close()
    until(lambda: not any(thread.is_alive() for thread in threads if thread))
    with pytest.raises(RunError, match="closed"):
        view.filter = "age > 30"
    assert view.selected["age"].to_list() == []


def test_threads_that_have_nothing_to_do_end_and_begin_again(panel, monkeypatch):
    monkeypatch.setattr(desk, "REST", 0.05)
    monkeypatch.setattr(telling, "_REST", 0.05)
    view = wb.explore(panel)
    sent = []
    view.send = lambda content, buffers=None: sent.append(content)
    for number in range(3):
        ask(view, number, "page", start=0, count=3)
        until(lambda number=number: any(content.get("id") == number for content in sent))
        job = view._session.jobs.start("work", lambda task: "Done.")
        assert view._session.jobs.wait(job, QUICK)["state"] == "done"
        until(lambda: not view._session.jobs._desk.threads and view._session.jobs._teller._desk.thread is None)
    view.close()


def test_traits_are_set_by_a_page_while_the_view_tells_of_columns(panel, log):
    torch.manual_seed(0)
    model = wb.Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2)), ("a", "b"))
    view: Explorer = wb.explore(panel, model, log)
    raised = []
    view.observe(lambda change: time.sleep(0), "about")

    def page():
        try:
            for number in range(200):
                view.set_state(
                    {"selection": memoryview(np.array([number % 20], "<u4").tobytes()), "focus": number % 20}
                )
                view.set_state({"filter": f"age < {30 + number % 5}"})
        except Exception as error:  # noqa: BLE001 - told below
            raised.append(error)

    thread = threading.Thread(target=page)
    thread.start()
    for _ in range(100):
        view._session.computed()
    thread.join(60)
    assert raised == []
    assert view.about["data"] == view._session.data == 101
    assert view.filter == "age < 34"
    view.close()
