"""From a view: a look at what strokes reach, a token that writes it, and groups of explanations as a job."""

import numpy as np
import pytest
import torch

import workbench as wb
from workbench import DataPanel, Feedback, ImageColumn, ImageRegion
from workbench.errors import FeedbackBusyError, FeedbackError
from workbench.preview import Preview
from workbench.widgets.jobs import Jobs
from workbench.widgets.spreading import Spreading, cluster_rows, cluster_table

MARK = ImageRegion.box(0, 0, 3, 3, size=(12, 12))


@pytest.fixture
def log(tmp_path):
    return Feedback(tmp_path / "feedback.db", author="ada")


@pytest.fixture
def panel():
    """Noise, with a mark of some grey top left in every second picture."""
    chance = np.random.default_rng(0)
    pictures = chance.integers(0, 12, (60, 12, 12)).astype(np.uint8)
    for row in range(0, 60, 2):
        pictures[row, :3, :3] = chance.integers(60, 255)
    return DataPanel({"image": ImageColumn(pictures)}, origin="p")


def test_a_look_tells_what_is_reached_and_its_token_writes_just_that(panel, log):
    log.mark("p/0", irrelevant=MARK)
    spreading = Spreading(panel, log, "image")
    look = spreading.reach()
    assert (look["count"], look["sources"], len(look["rows"])) == (29, 1, 12)
    assert set(look["rows"]) <= set(range(2, 60, 2))
    assert len(set(look["rows"])) == 12
    assert (
        look["words"]
        == "29 of 60 rows get a region from 1 painted row: rows which show what was painted, in its place."
    )
    assert log.version == 1
    done = spreading.spread(look["token"], author="bob")
    assert done["count"] == 29
    assert done["saved"] == log.records()[-1].time
    assert {record.author for record in log.records()[1:]} == {"bob"}


def test_what_is_reached_again_and_has_just_that_is_not_written_twice(panel, log):
    log.mark("p/0", irrelevant=MARK)
    spreading = Spreading(panel, log, "image")
    spreading.spread(spreading.reach()["token"])
    again = spreading.reach()
    assert (again["count"], again["rows"]) == (0, [])
    assert spreading.spread(again["token"])["count"] == 0


def test_the_least_like_are_shown_first_and_of_groups_a_few_of_all(panel, log):
    log.mark("p/0", irrelevant=MARK)
    spreading = Spreading(panel, log, "image")
    rows = spreading.reach()["rows"]
    nearness = spreading._looks[1].reached.nearness
    reached = spreading._looks[1].rows
    assert rows[:6] == reached[np.argsort(nearness[reached], kind="stable")][:6].tolist()
    everywhere = spreading.reach("all")["rows"]
    assert (everywhere[0], everywhere[-1], len(everywhere)) == (1, 59, 12)


def test_a_token_is_over_once_it_is_written_or_the_strokes_have_changed(panel, log):
    log.mark("p/0", irrelevant=MARK)
    spreading = Spreading(panel, log, "image")
    token = spreading.reach()["token"]
    spreading.spread(token)
    with pytest.raises(FeedbackError, match="This look is over, and nothing was written: look again"):
        spreading.spread(token)
    log.undo()
    token = spreading.reach()["token"]
    log.mark("p/0", irrelevant=ImageRegion.box(4, 4, 2, 2, size=(12, 12)))
    version = log.version
    for _ in range(2):
        with pytest.raises(FeedbackError, match="nothing was written: look again"):
            spreading.spread(token)
    assert log.version == version
    with pytest.raises(FeedbackError, match="look again"):
        spreading.spread(10**9)


def test_what_others_painted_meanwhile_elsewhere_does_not_end_a_look(panel, log):
    log.mark("p/0", irrelevant=MARK)
    spreading = Spreading(panel, log, "image")
    look = spreading.reach()
    log.mark("p/2", irrelevant=MARK, author="bob")
    assert spreading.spread(look["token"])["count"] == look["count"] - 1


def test_a_log_that_is_busy_leaves_the_look_to_be_tried_again(panel, log, monkeypatch):
    log.mark("p/0", irrelevant=MARK)
    spreading = Spreading(panel, log, "image")
    token = spreading.reach()["token"]
    with monkeypatch.context() as patch:
        patch.setattr(Preview, "write", lambda *a, **k: (_ for _ in ()).throw(FeedbackBusyError("busy")))
        with pytest.raises(FeedbackBusyError):
            spreading.spread(token)
    assert spreading.spread(token)["count"] == 29


def test_only_the_last_looks_are_held(panel, log):
    log.mark("p/0", irrelevant=MARK)
    spreading = Spreading(panel, log, "image")
    tokens = [spreading.reach("all")["token"] for _ in range(6)]
    assert list(spreading._looks) == tokens[-4:]


def test_what_is_missing_is_said_in_words(panel, log):
    spreading = Spreading(panel, log, "image")
    with pytest.raises(FeedbackError, match="at least one row of the panel that was painted"):
        spreading.reach()
    log.mark("p/0", irrelevant=MARK)
    with pytest.raises(FeedbackError, match="group the explanations first"):
        spreading.reach("cluster")
    with pytest.raises(FeedbackError, match="compute it first"):
        spreading.reach("neighbours")
    model = wb.Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 2)), ("a", "b"))
    spreading.panel = panel.predict(model)
    with pytest.raises(FeedbackError, match="compute it first"):
        spreading.reach("neighbours")
    spreading.panel["embedding"].compute()
    assert 0 < spreading.reach("neighbours")["count"] <= 10
    spreading.panel = panel.assign(cluster=[row % 2 for row in range(60)])
    assert spreading.reach("cluster")["count"] == 29


def explained(rows):
    """Vectors, half of which a linear model explains by the first feature, half by the last."""
    x = torch.zeros(rows, 3)
    x[::2, 0], x[1::2, 2] = 3.0, 2.0
    model = wb.Classifier(torch.nn.Linear(3, 2), ("no", "yes"), on="x")
    with torch.no_grad():
        model.module.weight.copy_(torch.tensor([[1.0, 1, 1], [0, 0, 0]]))
    return DataPanel({"x": x}, origin="rows"), model


def test_groups_of_explanations_are_a_job_that_tells_how_far_it_is():
    panel, model = explained(3000)
    seen, found = [], []
    jobs = Jobs(seen.append)
    job = jobs.start("cluster", lambda task: found.append(cluster_rows(panel, model, task, count=2)))
    end = jobs.wait(job)
    jobs.close()
    assert (end["state"], end["done"], end["of"]) == ("done", 3000, 3000)
    assert found[0].column.to_list()[:4] == [0, 1, 0, 1]
    table = cluster_table(found[0])
    assert [group["size"] for group in table] == [1500, 1500]
    assert table[0]["looks_at"] == "100% at feature 0"
    assert [found[0].labels[group["medoid"]] for group in table] == [0, 1]


def test_grouping_stops_between_pieces():
    panel, model = explained(5000)
    jobs = Jobs(lambda event: None)
    pieces = []

    def work(task):
        say = task.say

        def told(done, of, words):
            pieces.append(done)
            say(done, of, words)
            if done == 2048:
                task.ask_to_stop()

        task.say = told
        cluster_rows(panel, model, task)

    found = jobs.wait(jobs.start("cluster", work))
    jobs.close()
    assert found["state"] == "stopped"
    assert pieces == [0, 1024, 2048]
