"""Messages of a page are checked before anything is done: whatever comes, a session answers, and does nothing else."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from columns import ImageColumn
from workbench.widgets.session import Session
from workbench.widgets.wire import ACTIONS, WireError, parse

QUIET = ("train", "cluster", "compute", "keep")  # what begins long work is fuzzed in `parse` only

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from([2**70, 10**400, -1]),
    st.sampled_from(["image", "label", "number", "prediction", "embedding", "../../etc/passwd", "1; DROP TABLE x"]),
    st.just("\ud800"),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)
rows = st.one_of(st.integers(-2, 12), values)
likely = {
    "row": rows, "rows": st.one_of(st.lists(st.integers(0, 9), max_size=5), values), "start": rows, "count": rows,
    "first": rows, "last": rows, "size": st.one_of(st.integers(0, 600), values),
    "cells": st.one_of(st.lists(st.sampled_from(["label", "number", "prediction", "nope"]), max_size=3), values),
    "pictures": st.one_of(
        st.fixed_dictionaries({"column": st.sampled_from(["image", "label"]), "size": st.just(32)}), values
    ),
    "irrelevant": st.one_of(
        st.fixed_dictionaries(
            {"height": st.just(4), "width": st.just(4), "counts": st.lists(st.integers(0, 16), max_size=5)}
        ),
        st.fixed_dictionaries({"spans": st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), max_size=3)}),
        values,
    ),
    "method": st.one_of(st.sampled_from(["input_gradient", "grad_cam", "lime", "__class__"]), values),
    "to": st.one_of(st.sampled_from(["template", "cluster", "neighbours", "all"]), values),
    "by": st.one_of(st.sampled_from(["next", "previous", "embedding", "label"]), values),
}  # fmt: skip


@st.composite
def messages(draw):
    """A message that is nearly right: an action, its fields, some of them anything at all."""
    action = draw(st.sampled_from([name for name in ACTIONS if name not in QUIET]))
    fields = {name: draw(likely.get(name, values)) for name in ACTIONS[action] if draw(st.integers(0, 5))}
    return {"id": draw(st.integers(0, 9)), "do": action, **fields}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    pictures = np.random.default_rng(0).integers(0, 255, (10, 4, 4), np.uint8)
    panel = wb.DataPanel({"image": ImageColumn(pictures), "label": list("ab") * 5, "number": range(10)}, origin="fuzz")
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
    log = wb.Feedback(tmp_path_factory.mktemp("fuzz") / "log.db", author="ada")
    session = Session(panel, wb.Classifier(net, ["a", "b"]), log)
    yield session
    session.close()


def check(session, message):
    before = session.panel
    reply, buffers = session.answer(message)
    assert set(reply) in ({"id", "ok"}, {"id", "error"}, {"id", "error", "again"})
    # As it is sent: JSON with no NaN in it, in UTF-8.
    json.dumps(reply, ensure_ascii=False, allow_nan=False).encode()
    assert all(isinstance(part, bytes) for part in buffers)
    assert session.panel is before
    if "error" in reply:
        assert len(reply["error"]) <= 2100
        assert "could not be answered" not in reply["error"], (message, reply)
    return reply


@given(message=messages())
def test_a_message_that_is_nearly_right_is_answered(session, message):
    check(session, message)


@given(
    message=st.one_of(
        values, st.fixed_dictionaries({"id": values, "do": st.one_of(st.sampled_from(sorted(ACTIONS)), values)})
    )
)
def test_garbage_is_refused_in_words(session, message):
    try:
        parse(message)
    except WireError:
        assert "error" in check(session, message)


@given(
    action=st.sampled_from(sorted(ACTIONS)),
    fields=st.dictionaries(st.sampled_from(["column", "loss", "minutes", "steps", "weight", "weights", "job"]), values),
)
def test_settings_of_long_work_are_checked_before_it_begins(action, fields):
    try:
        found = parse({"id": 1, "do": action, **fields})
    except WireError as error:
        json.dumps(str(error), ensure_ascii=False).encode()
        return
    assert set(found.fields) == set(ACTIONS[action])
    for name in ("minutes", "steps", "weight"):
        value = found.fields.get(name)
        assert value in (None, "auto") or (isinstance(value, int | float) and 0 < value < 1e10)


def test_endless_and_deep_messages_are_answered_at_once(session):
    deep = []
    for _ in range(900):
        deep = [deep]
    for value in (deep, "x" * 10_000_000, ["y"] * 1_000_000, {"z" * 1_000_000: 1}):
        for message in (
            value,
            {"id": 1, "do": value},
            {"id": 1, "do": "detail", "row": value},
            {"id": 1, "do": "page", "x": value},
        ):
            assert "error" in check(session, message)


def test_code_and_paths_get_nowhere(session, tmp_path):
    code = "__import__('os').system('touch hacked')"
    for message in (
        {"do": "page", "start": 0, "count": 1, "cells": [code]},
        {"do": "page", "start": 0, "count": 1, "pictures": {"column": "/etc/passwd", "size": 64}},
        {"do": "maps", "rows": [0], "method": code},
        {"do": "maps", "rows": [0], "method": "input_gradient", "target": code},
        {"do": "scatter", "by": code},
        {"do": "compute", "column": code},
        {"do": "correct", "row": 0, "label": code},
        {"do": "narrow", "filter": code},
        {"do": "__init__"},
        {"do": "slice", "name": code, "of": "everything"},
        {"do": "reach", "to": code},
        {"do": "train", "loss": code},
    ):
        assert "error" in check(session, {"id": 1, **message})
