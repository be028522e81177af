"""Predictions and embeddings against plain float64 computations."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from columns import EmbeddingColumn, KindError, PredictionColumn, RowsFailedWarning, ScalarColumn, concat

CLASSES = ["ant", "bee", "cat", "dog"]
RNG = np.random.default_rng(7)


def plain_softmax(row: list[float]) -> list[float]:
    """The textbook, in Python floats."""
    top = max(row)
    powers = [math.exp(v - top) for v in row]
    return [p / math.fsum(powers) for p in powers]


@pytest.fixture(params=["logits", "probabilities"])
def scored(request):
    scores = RNG.normal(size=(9, 4)) * 3
    p = np.array([plain_softmax(row) for row in scores.tolist()])
    data = scores if request.param == "logits" else p
    return PredictionColumn(data, CLASSES, unit=request.param), p


def test_every_quantity_is_that_of_the_textbook(scored) -> None:
    column, p = scored
    ranked = np.sort(p, axis=1)
    np.testing.assert_allclose(column.probabilities.to_numpy(), p, rtol=1e-12)
    np.testing.assert_allclose(column.confidence.to_numpy(), p.max(axis=1), rtol=1e-12)
    np.testing.assert_allclose(column.margin.to_numpy(), ranked[:, -1] - ranked[:, -2], rtol=1e-9)
    np.testing.assert_allclose(column.probability("cat").to_numpy(), p[:, 2], rtol=1e-12)
    entropy = [-math.fsum(v * math.log(v) for v in row) for row in p.tolist()]
    np.testing.assert_allclose(column.entropy.to_numpy(), entropy, rtol=1e-12)
    assert column.label.to_list() == [CLASSES[i] for i in p.argmax(axis=1)]
    assert column.label.spec.classes == tuple(CLASSES)
    for row, best in zip(p, column.top_k(3).to_list(), strict=True):
        order = np.argsort(-row)[:3]
        assert [b["label"] for b in best] == [CLASSES[i] for i in order]
        np.testing.assert_allclose([b["probability"] for b in best], row[order], rtol=1e-12)


def test_the_loss_is_the_cross_entropy_against_names_codes_or_categories(scored) -> None:
    column, p = scored
    codes = RNG.integers(0, 4, len(p))
    expected = -np.log(p[np.arange(len(p)), codes])
    names = [CLASSES[i] for i in codes]
    for labels in (ScalarColumn(codes), ScalarColumn(names), ScalarColumn(names, classes=CLASSES)):
        np.testing.assert_allclose(column.loss(labels).to_numpy(), expected, rtol=1e-9)
    missing = ScalarColumn([None, *names[1:]], classes=CLASSES)
    assert column.loss(missing).to_list()[0] is None
    with pytest.raises(KindError, match="must have the classes"):
        column.loss(ScalarColumn(names, classes=CLASSES[::-1]))
    with pytest.raises(KindError, match="category, class names or codes; got a tensor"):
        column.loss(column.probabilities)


def test_the_loss_of_an_impossible_class_is_large_and_finite_from_logits() -> None:
    labels = ScalarColumn(["bee"])
    assert PredictionColumn([[1000.0, -1000.0]], ["ant", "bee"]).loss(labels)[0] == pytest.approx(2000)
    assert PredictionColumn([[1.0, 0.0]], ["ant", "bee"], unit="probabilities").loss(labels)[0] == math.inf


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_quantities_of_any_type_of_scores_are_fractions(dtype) -> None:
    column = PredictionColumn(np.array([[1, 2], [3, 1]], dtype), ["no", "yes"])
    expected = [plain_softmax([1.0, 2.0])[1], plain_softmax([3.0, 1.0])[0]]
    np.testing.assert_allclose(column.confidence.to_numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(column.probabilities.to_numpy().max(axis=1), expected, rtol=1e-6)
    assert (column.confidence > 0.8).to_list() == [False, True]


@pytest.mark.parametrize("with_null", [False, True])
def test_nan_and_infinity_stay_what_they_are_and_choose_no_class(with_null: bool) -> None:
    rows = [[math.nan, 1.0], [math.inf, math.inf], [1.0, -math.inf], [2.0, 1.0]]
    column = PredictionColumn([*rows, None] if with_null else rows, ["a", "b"])
    null = [None] if with_null else []
    assert column.label.to_list() == [None, "a", "a", "a", *null]
    confidence = column.confidence.to_list()
    assert [c is not None and math.isnan(c) for c in confidence[:4]] == [True, True, False, False]
    assert confidence[2] == 1.0
    assert confidence[4:] == null
    assert len(column.top_k(2).to_list()) == len(column.entropy.to_list()) == len(column)
    assert math.isnan(column.margin[0])


def test_one_class_and_zero_rows_and_null_rows() -> None:
    one = PredictionColumn([[0.3], [5.0]], ["only"])
    assert one.confidence.to_list() == one.margin.to_list() == [1.0, 1.0]
    assert one.entropy.to_list() == [0.0, 0.0]
    for column, rows in (
        (PredictionColumn(np.zeros((0, 2)), ["a", "b"]), []),
        (PredictionColumn([None, [1.0, 2.0]], ["a", "b"])[:1], [None]),
    ):
        for lazy in (
            column.label,
            column.confidence,
            column.entropy,
            column.margin,
            column.top_k(2),
            column.probability("b"),
            column.probabilities,
        ):
            assert lazy.to_list() == rows
        assert column.loss(ScalarColumn([0] * len(rows), dtype="int64")).to_list() == rows


def test_a_map_of_which_nothing_came_is_a_prediction_of_nulls() -> None:
    scores = ScalarColumn([None, None], dtype="int64").map(lambda x: [0.0, 1.0], to="prediction")
    column = scores.as_kind("prediction", classes=("a", "b"), unit="logits")
    for lazy in (
        column.label,
        column.confidence,
        column.entropy,
        column.margin,
        column.top_k(2),
        column.probability("b"),
        column.probabilities,
    ):
        assert lazy.to_list() == [None, None]
    joined = concat([column, PredictionColumn([[1.0, 2.0]], ["a", "b"])])
    assert joined.label.to_list() == [None, None, "b"]


def test_a_prediction_of_which_every_row_failed_is_null() -> None:
    def fail(x):
        raise ValueError("no")

    column = ScalarColumn([1]).map(fail, to="prediction").as_kind("prediction", classes=("a", "b"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RowsFailedWarning)
        assert column.label.values(on_error="null").rows() == [None]


def test_wrong_predictions_are_refused() -> None:
    with pytest.raises(KindError, match=r"shape \(rows, 2\), one for each class; got \(1, 3\)"):
        PredictionColumn([[1, 2, 3]], ["a", "b"])
    with pytest.raises(KindError, match="`unit` must be one of logits, probabilities; got 'percent'"):
        PredictionColumn([[1]], ["a"], unit="percent")
    column = PredictionColumn([[1, 2]], ["a", "b"])
    with pytest.raises(KindError, match=r"one of .*; got 'c'"):
        column.probability("c")
    with pytest.raises(KindError, match=r"lie in \[1, 2\]; got 3"):
        column.top_k(3)
    with pytest.raises(KindError, match="same unit"):
        concat([column, PredictionColumn([[1, 2]], ["a", "b"], unit="probabilities")])
    with pytest.raises(KindError, match="no class names"):
        ScalarColumn([1]).map(lambda x: [1.0], to="prediction").label


def plain_nearest(queries: np.ndarray, rows: np.ndarray, k: int, metric: str):
    """In float64, one pair at a time, in a stable order."""
    scores = np.empty((len(queries), len(rows)))
    for i, q in enumerate(queries.astype(np.float64)):
        for j, x in enumerate(rows.astype(np.float64)):
            if metric == "dot":
                scores[i, j] = (q * x).sum()
            elif metric == "cosine":
                scores[i, j] = (q * x).sum() / max(1e-12, math.sqrt((q * q).sum()) * math.sqrt((x * x).sum()))
            else:
                scores[i, j] = -math.sqrt(((q - x) ** 2).sum())
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1) * (-1 if metric == "euclidean" else 1)


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("offset", [0, 1000])
def test_nearest_rows_are_those_of_a_plain_computation(metric: str, offset: float) -> None:
    if offset and metric != "euclidean":
        pytest.skip("far from zero all directions are one")
    rows = (RNG.normal(size=(60, 5)) + offset).astype(np.float32)
    queries = (RNG.normal(size=(11, 5)) + offset).astype(np.float32)
    found = EmbeddingColumn(rows).nearest(queries, k=7, metric=metric)
    order, scores = plain_nearest(queries, rows, 7, metric)
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-4, atol=1e-5)
    one = EmbeddingColumn(rows).nearest(queries[0].tolist(), k=1, metric=metric)
    assert one.rows.shape == (1, 1)
    assert one.rows[0, 0] == order[0, 0]


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_null_nan_and_infinite_rows_are_near_nothing(metric: str) -> None:
    rows = [[1.0, 0.0], None, [math.nan, 1.0], [math.inf, 0.0], [0.9, 0.1], [0.0, 0.0]]
    found = EmbeddingColumn(rows).nearest([[1.0, 0.0]], k=10, metric=metric)
    assert sorted(found.rows[0].tolist()) == [0, 4, 5]
    assert np.isfinite(found.scores).all()


def test_more_neighbours_than_rows_and_none_at_all() -> None:
    column = EmbeddingColumn(np.eye(3, dtype=np.float32))
    assert column.nearest(np.eye(3), k=100).rows.shape == (3, 3)
    assert column[:0].nearest(np.eye(3), k=2).rows.shape == (3, 0)
    assert column.nearest(np.zeros((0, 3)), k=2).rows.shape == (0, 2)
    assert EmbeddingColumn([None, [1.0]])[:1].nearest([1.0]).rows.shape == (1, 0)
    nothing = ScalarColumn([None], dtype="int64").map(lambda x: [1.0], to="embedding")
    assert nothing.nearest([1.0, 2.0]).rows.shape == (1, 0)


def test_neighbours_found_in_chunks_are_the_same(monkeypatch) -> None:
    import columns.kinds.embedding as module

    rows, queries = (RNG.normal(size=(n, 4)).astype(np.float32) for n in (30, 17))
    column = EmbeddingColumn(rows)
    for metric in ("cosine", "dot", "euclidean"):
        whole = column.nearest(queries, 3, metric)
        monkeypatch.setattr(module, "_SCORES_AT_ONCE", 64)
        monkeypatch.setattr(module, "_QUERIES_AT_ONCE", 5)
        chunked = column.nearest(EmbeddingColumn(queries), 3, metric)
        monkeypatch.undo()
        np.testing.assert_array_equal(whole.rows, chunked.rows)


def test_wrong_queries_are_refused() -> None:
    column = EmbeddingColumn(np.eye(3, dtype=np.float32))
    with pytest.raises(KindError, match="one of cosine, dot, euclidean; got 'manhattan'"):
        column.nearest([1, 2, 3], metric="manhattan")
    with pytest.raises(KindError, match=r"3 dimensions; got shape \(1, 2\)"):
        column.nearest([1, 2])
    with pytest.raises(ValueError, match="at least 1; got 0"):
        column.nearest([1, 2, 3], k=0)
    with pytest.raises(KindError, match="finite"):
        column.nearest([math.nan, 0, 0])
    with pytest.raises(KindError, match="finite"):
        column.nearest(EmbeddingColumn([None, [1.0, 0, 0]]))


def test_any_type_of_embedding_is_searched() -> None:
    for data in (np.eye(3, dtype=np.float16), np.eye(3), np.eye(3, dtype=np.uint8), torch.eye(3, dtype=torch.bfloat16)):
        assert EmbeddingColumn(data).nearest(torch.tensor([0, 1, 0.1]), k=2).rows.tolist() == [[1, 2]]
