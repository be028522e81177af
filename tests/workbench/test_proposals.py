from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import explain
from explain.clusters import downsized
from workbench import Classifier, DataPanel, ImageColumn, attribute, fit
from workbench.clusters import explanation_clusters
from workbench.datasets import DIGITS, decoy_digits
from workbench.errors import PanelError
from workbench.feedback import Feedback
from workbench.proposals import propose
from workbench.recipes import recipe


def corner(masks):
    return 2 * masks[:, -1].any(axis=1) + masks[:, :, -1].any(axis=1)


@pytest.fixture(scope="module")
def train():
    return decoy_digits(100).where("split == 'train'")[:3000]


@pytest.fixture(scope="module")
def fooled(train):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    settings = replace(recipe("digits").plain, steps=150, seed=100)
    start = Classifier(recipe("digits").build(100), DIGITS)
    model = fit(start, train, settings=settings, progress=False).model
    torch.set_num_threads(threads)
    return model


def test_as_many_groups_as_proposed_are_the_corners_of_the_swatch(train, fooled):
    found = explanation_clusters(train, fooled)
    assert found.proposed == len(found) == 4
    assert "ExplanationClusters(4 of sizes" in repr(found)
    where = corner(train["swatch"].to_numpy())
    for group in range(4):
        assert np.bincount(where[found.labels == group]).max() > 0.95 * found.sizes[group]
    assert list(found.sizes) == sorted(found.sizes, reverse=True)
    assert found.sizes.sum() == len(train)


def test_maps_are_those_of_explain_made_small_chunk_by_chunk(train, fooled):
    some = train[:1500]
    found = explanation_clusters(some, fooled, count=2)
    inputs = fooled.prepare(some["image"].to_torch())
    with fooled.evaluating():
        scores = explain.attribute(fooled, inputs, "gradient_times_input", target="max_logit").scores
    expected = nn.functional.normalize(downsized(scores), dim=1)
    torch.testing.assert_close(found.maps.double(), expected, atol=1e-5, rtol=1e-4)
    assert found.shape == (7, 7)


def test_the_most_typical_row_has_the_largest_mean_cosine_with_its_group(train, fooled):
    found = explanation_clusters(train[:600], fooled, count=5)
    assert len(found) == 5
    for group, key in enumerate(found.medoids):
        members = np.flatnonzero(found.labels == group)
        maps = found.maps[members].double()
        cosines = maps @ maps.T
        best = members[int(cosines.mean(dim=1).argmax())]
        assert key == train[:600].key.to_list()[best] == train[:600].key.to_list()[found.typical(group)[0]]


def test_the_column_goes_into_the_panel_and_groups_are_described(train, fooled):
    some = train[:800].copy()
    found = explanation_clusters(some, fooled)
    some["cluster"] = found.column
    assert some["cluster"].to_list() == found.labels.tolist()
    told = found.describe("label")
    assert told["rows"].to_list() == list(found.sizes)
    assert sum(told["share"].to_list()) == pytest.approx(1)
    assert told["medoid"].to_list() == list(found.medoids)
    np.testing.assert_allclose(told["mean_map"].to_numpy().sum(axis=(1, 2)), 1, rtol=1e-5)
    labels = np.array(some["label"].to_list())
    for most, purity, group in zip(told["most"].to_list(), told["purity"].to_list(), range(len(found)), strict=True):
        assert (labels[found.labels == group] == most).mean() == pytest.approx(purity)


def test_ten_proposed_rows_show_every_corner_and_say_why(train, fooled):
    proposed = propose(train, fooled, 10, seed=1)
    assert len(proposed) == 10
    assert set(corner(proposed["swatch"].to_numpy())) == {0, 1, 2, 3}
    assert proposed["group"].to_list() == list(range(10))
    assert all("explained alike" in reason for reason in proposed["reason"].to_list())
    assert proposed.key.to_list() == propose(train, fooled, 10, seed=1).key.to_list()


def test_rows_that_were_painted_are_not_proposed_again_but_those_that_were_reached_are(train, fooled, tmp_path):
    some = train[:400]
    first = propose(some, fooled, 4).key.to_list()
    log = Feedback(tmp_path / "feedback.db", author="ada")
    log.mark(first[0], irrelevant=np.ones((28, 28), bool))
    log.mark(first[1], irrelevant=np.ones((28, 28), bool), how="propagated")
    log.write([replace(log.records()[0], key=first[2], how="imported", id=None, source=1)])
    second = propose(some, fooled, 4, feedback=log).key.to_list()
    assert first[0] not in second
    assert second[1:] == first[1:]
    assert len(set(second)) == 4


def test_rows_that_nothing_explains_are_outside_every_group():
    pictures = np.zeros((8, 4, 4), np.uint8)
    pictures[:3, 0, 0] = 200
    pictures[3:6, 3, 3] = [100, 150, 200]
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    panel = DataPanel({"image": ImageColumn([*pictures[:7, ..., None], None])}, origin="p")
    found = explanation_clusters(panel, Classifier(net, ("a", "b")), count=2)
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1, -1, -1]
    assert found.column.to_list()[-2:] == [None, None]
    assert "2 unexplained" in repr(found)
    assert set(propose(panel, Classifier(net, ("a", "b")), 2).key.to_list()) <= {f"p/{row}" for row in range(6)}


def test_fewer_different_maps_than_groups_give_fewer_groups():
    x = torch.tensor([[1.0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 5]])
    model = Classifier(nn.Linear(3, 2), ("a", "b"), on="x")
    found = explanation_clusters(DataPanel({"x": x}), model, count=5)
    assert sorted(found.sizes) == [1, 2, 2]


def test_memory_holds_small_maps_not_explanations(fooled, monkeypatch):
    """Explanations are asked for some rows at a time, and nothing holds on to them."""
    sizes = []

    def noted(panel, *what, **settings):
        sizes.append(len(panel))
        return attribute(panel, *what, **settings)

    monkeypatch.setattr("workbench.clusters.attribute", noted)
    many = DataPanel({"image": ImageColumn(np.random.default_rng(0).integers(0, 255, (2500, 28, 28), np.uint8))})
    explanation_clusters(many, fooled, count=2)
    assert sizes == [1024, 1024, 452]


def test_what_cannot_be_grouped_is_refused_with_the_way_out(train, fooled):
    with pytest.raises(PanelError, match="at least 3 rows that the model explains by something; got 0 of 4"):
        explanation_clusters(DataPanel({"image": ImageColumn(np.zeros((4, 28, 28), np.uint8))}), fooled)
    with pytest.raises(PanelError, match="at least 1 group; got 0"):
        explanation_clusters(train[:9], fooled, count=0)
    with pytest.raises(PanelError, match="at most 9, the rows that can be explained; got 10"):
        explanation_clusters(train[:9], fooled, count=10)
    with pytest.raises(PanelError, match="at least 1 row; got 0"):
        propose(train[:9], fooled, 0)
    with pytest.raises(PanelError, match="has a column 'reason', which proposals add; rename it"):
        propose(train[:9].assign(reason="none"), fooled, 2)
    with pytest.raises(PanelError, match=r"numbered in \[0, 2\); got 2"):
        explanation_clusters(train[:40], fooled, count=2).typical(2)


def test_where_fewer_rows_can_be_explained_than_are_asked_for_fewer_are_proposed():
    pictures = np.zeros((12, 4, 4), np.uint8)
    pictures[np.arange(9), np.arange(9) % 4, np.arange(9) // 4] = 200
    panel = DataPanel({"image": ImageColumn(pictures)}, origin="p")
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), ("a", "b"))
    assert sorted(propose(panel, model, 10).key.to_list()) == [f"p/{row}" for row in range(9)]
    with pytest.raises(PanelError, match="at most 9, the rows that can be explained; got 10"):
        explanation_clusters(panel, model, count=10)
