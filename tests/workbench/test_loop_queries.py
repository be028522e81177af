"""Queries: each asks first about the rows that its definition names, recomputed here plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import workbench as wb
from explain import attribute
from workbench.errors import LoopError
from workbench.loop import QUERIES, Candidates, Disagreement, Instability
from workbench.loop.asking import chosen, gathered
from workbench.nets import Mlp


@pytest.fixture(scope="module")
def digits():
    return wb.datasets.decoy_digits(seed=0).where("split == 'train'")[:120]


@pytest.fixture(scope="module")
def model(digits):
    start = wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS)
    return wb.fit(start, digits, steps=60, progress=False).model


def candidates(panel, model, answered=(), **how):
    known = np.zeros(len(panel), bool)
    known[list(answered)] = True
    return Candidates(panel, known, model, **how)


def softmax(model, panel):
    with torch.no_grad(), model.evaluating():
        return model(model.prepare(panel["image"].to_torch())).double().softmax(dim=1)


def test_uncertainty_and_margin_are_those_of_the_probabilities(digits, model):
    rows, p = candidates(digits, model), softmax(model, digits)
    entropy = [-sum(float(q) * np.log(float(q)) for q in row if q > 0) for row in p]
    np.testing.assert_allclose(QUERIES["uncertainty"](rows), entropy, atol=1e-6)
    close = [1 - (float(sorted(row)[-1]) - float(sorted(row)[-2])) for row in p]
    np.testing.assert_allclose(QUERIES["margin"](rows), close, atol=1e-6)


def test_chance_is_drawn_by_seed_and_round(digits, model):
    orders = [
        QUERIES["random"](candidates(digits, model, seed=s, round=r)) for s, r in ((0, 0), (0, 0), (1, 0), (0, 1))
    ]
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], orders[3])


def test_disagreement_is_one_less_the_cosine_of_the_maps(digits, model):
    some = digits[:20]
    inputs = model.prepare(some["image"].to_torch())
    methods = ("gradient_times_input", "integrated_gradients")
    with model.evaluating():
        maps = [attribute(model, inputs, m, target="max_logit").scores.abs().sum(dim=1) for m in methods]
    small = [nn.functional.adaptive_avg_pool2d(m.double()[:, None], 7).flatten(1) for m in maps]
    expected = 1 - nn.functional.cosine_similarity(*small)
    np.testing.assert_allclose(Disagreement(methods)(candidates(some, model)), expected, atol=1e-6)
    other = wb.Classifier(wb.recipe("digits").build(1), wb.datasets.DIGITS)
    assert Disagreement(others=(model,))(candidates(some, model)) == pytest.approx(np.zeros(20), abs=1e-9)
    assert Disagreement(others=(other,))(candidates(some, model)).min() > 0.01


def test_dropout_makes_a_model_disagree_with_itself_and_is_put_back(digits):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 10))
    dropping = wb.Classifier(net, wb.datasets.DIGITS)
    query = Disagreement(passes=3)
    first = query(candidates(digits[:10], dropping))
    assert (first > 1e-6).all()
    assert np.array_equal(first, query(candidates(digits[:10], dropping)))
    net.eval()
    assert np.array_equal(first, query(candidates(digits[:10], dropping)))
    assert not net[3].training
    assert not net[3]._forward_pre_hooks
    with pytest.raises(LoopError, match="SmallConv has none"):
        query(candidates(digits[:10], wb.Classifier(wb.recipe("digits").build(0), wb.datasets.DIGITS)))
    with pytest.raises(LoopError, match="two methods, another model, or two passes"):
        Disagreement(methods=("occlusion",))


def test_instability_finds_the_row_whose_answer_hangs_on_one_pixel():
    net = nn.Linear(6, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.0] * 6, [9.0, 1, 1, 1, 1, 1]]))
    model = wb.Classifier(net, ("no", "yes"), on="x")
    x = torch.full((9, 6), -1.0)
    x[0] = torch.tensor([1.0, -1, -1, -1, -1, -1])  # yes, by its first feature alone
    panel = wb.DataPanel({"x": wb.TensorColumn(x)})
    scores = Instability(share=0.2)(candidates(panel, model))
    assert scores.argmax() == 0
    # Refilled with what every other row has, the first feature says no.
    assert scores[0] == pytest.approx(1 / (1 + np.exp(-4)) - 1 / (1 + np.exp(14)), abs=1e-6)
    with pytest.raises(LoopError, match="`share` must lie in"):
        Instability(share=1.0)


def test_clusters_ask_first_about_the_groups_of_which_least_was_said():
    # Three ways of reasoning, of 12, 9 and 6 rows: each row is explained by one feature.
    net = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 1, 1], [0.0, 0, 0]]))
    model = wb.Classifier(net, ("one", "other"), on="x")
    kinds = np.repeat([0, 1, 2], [12, 9, 6])
    x = torch.eye(3)[torch.from_numpy(kinds)]
    panel = wb.DataPanel({"x": wb.TensorColumn(x)})
    order = np.argsort(-QUERIES["clusters"](candidates(panel, model)), kind="stable")
    assert kinds[order[:6]].tolist() == [0, 1, 2, 0, 1, 2]
    order = np.argsort(-QUERIES["clusters"](candidates(panel, model, answered=(0, 1, 12))), kind="stable")
    assert kinds[order[:4]].tolist() == [2, 1, 2, 0]


def test_of_a_group_the_rows_that_are_known_to_be_wrong_come_last():
    net = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 1, 1], [0.0, 0, 0]]))
    model = wb.Classifier(net, ("one", "other"), on="x")
    panel = wb.DataPanel({"x": wb.TensorColumn(torch.eye(3).repeat_interleave(4, dim=0))})
    # Of each group of four: the model is wrong about the first, right about the second, and nobody knows the rest.
    rows = candidates(panel, model, labels=np.array([1, 0, -1, -1] * 3))
    assert rows.wrong.tolist() == [True, False, False, False] * 3
    order = np.argsort(-QUERIES["clusters"](rows), kind="stable")
    assert sorted(order[-3:].tolist()) == [0, 4, 8]
    assert not candidates(panel, model).wrong.any()


def test_one_in_k_is_chosen_by_the_guide_and_the_count_goes_on_over_rounds(digits, model):
    rows = candidates(digits, model, answered=(3, 4))
    found = chosen(rows, QUERIES["margin"], "margin", 7, 3, before=0)
    assert list(found.values()) == ["clusters", "margin", "margin"] * 2 + ["clusters"]
    assert len(found) == 7
    assert not {3, 4} & set(found)
    found = chosen(rows, QUERIES["margin"], "margin", 4, 3, before=7)
    assert list(found.values()) == ["margin", "margin", "clusters", "margin"]
    assert set(chosen(rows, QUERIES["margin"], "margin", 500, None, before=0)) == set(range(120)) - {3, 4}
    with pytest.raises(LoopError, match="one score for each of 120 candidates"):
        chosen(rows, lambda _: np.zeros(3), "mine", 1, None, before=0)


def test_rows_without_an_input_are_never_asked_about(model):
    pictures = [Image.new("L", (28, 28)), None, Image.new("L", (28, 28), 9), None]
    panel = wb.DataPanel({"image": wb.ImageColumn(pictures)})
    rows = gathered(panel, np.array([0]), 10, model, method="input_gradient", target="max_logit", seed=0, round=0)
    assert rows.panel.key.to_list() == [panel.key.to_list()[i] for i in (2, 0)]
    assert rows.answered.tolist() == [False, True]


def test_candidates_are_drawn_where_there_are_many(digits):
    model = wb.Classifier(Mlp(), wb.datasets.DIGITS)
    how = {"method": "input_gradient", "target": "max_logit"}
    first, again, later = (gathered(digits, np.array([5]), 30, model, **how, seed=0, round=r) for r in (0, 0, 1))
    assert len(first) == 31
    assert first.panel.key.to_list() == again.panel.key.to_list() != later.panel.key.to_list()
