import math

import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn

from explain import KindError, SettingError, ShapeError
from explain.measures import (
    area_under_precision_recall,
    comprehensiveness,
    span_f1,
    sufficiency,
    token_f1,
    top_tokens,
)

PAD = 0


class Bag(nn.Module):
    """Counts words, each with a weight for each class, and reads no padding."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.weights = nn.Embedding(20, 3, padding_idx=PAD).double()

    def forward(self, ids):
        return self.weights(ids).sum(dim=1) + (self.weights(ids).sum(dim=1) ** 2)


@pytest.fixture
def texts():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(2, 20, (6, 23), generator=generator)
    scores = torch.randn(6, 23, dtype=torch.float64, generator=generator)
    lengths = torch.tensor([23, 15, 10, 7, 2, 1])
    tokens = torch.arange(23) < lengths[:, None]
    return ids.where(tokens, PAD), scores, tokens


def slow_eraser(net, ids, score, length, filler):
    """Comprehensiveness and sufficiency of one row, one share after the other."""
    order = sorted(range(length), key=lambda i: -score[i].item())
    whole = net(ids[None]).softmax(1)[0]
    predicted = whole.argmax().item()
    drops, rests = [], []
    for percent in (1, 5, 10, 20, 50):
        top = order[: -(-length * percent // 100)]
        without = torch.tensor([filler if i in top else int(t) for i, t in enumerate(ids)])
        alone = torch.tensor([filler if i < length and i not in top else int(t) for i, t in enumerate(ids)])
        drops.append((whole[predicted] - net(without[None]).softmax(1)[0, predicted]).item())
        rests.append((whole[predicted] - net(alone[None]).softmax(1)[0, predicted]).item())
    return sum(drops) / 5, sum(rests) / 5


@pytest.mark.parametrize("batch_size", [4, 256])
def test_eraser_scores_are_those_of_removing_token_after_token(texts, batch_size):
    ids, scores, tokens = texts
    net = Bag()
    comprehensive = comprehensiveness(net, ids, scores, tokens, filler=PAD, batch_size=batch_size)
    sufficient = sufficiency(net, ids, scores, tokens, filler=PAD, batch_size=batch_size)
    with torch.no_grad():
        expected = [slow_eraser(net, ids[i], scores[i], int(tokens[i].sum()), PAD) for i in range(6)]
    assert comprehensive.tolist() == pytest.approx([c for c, _ in expected], abs=1e-12)
    assert sufficient.tolist() == pytest.approx([s for _, s in expected], abs=1e-12)


@pytest.mark.parametrize("measure", [comprehensiveness, sufficiency])
def test_ids_embedded_tokens_and_a_function_are_the_same_removal(texts, measure):
    ids, scores, tokens = texts
    net = Bag()
    by_id = measure(net, ids, scores, tokens, filler=3)
    embedded = torch.nn.functional.one_hot(ids, 20).double()
    read = lambda x: net.weights.weight.T @ x.sum(dim=1)[..., None]  # noqa: E731
    forward = lambda x: (read(x) + read(x) ** 2)[..., 0]  # noqa: E731
    vector = measure(forward, embedded, scores, tokens, filler=torch.eye(20)[3])
    torch.testing.assert_close(vector, by_id)
    function = measure(net, ids, scores, tokens, filler=lambda inputs, removed: inputs.masked_fill(removed, 3))
    assert torch.equal(function, by_id)
    to_zero = measure(forward, embedded, scores, tokens, filler=0.0)
    assert torch.equal(to_zero, measure(forward, embedded, scores, tokens, filler=torch.zeros(20)))


@pytest.mark.parametrize("measure", [comprehensiveness, sufficiency])
def test_a_text_measures_the_same_alone_in_a_batch_and_without_its_padding(texts, measure):
    ids, scores, tokens = texts
    net = Bag()
    together = measure(net, ids, scores, tokens, filler=PAD)
    alone = [measure(net, ids[[i]], scores[[i]], tokens[[i]], filler=PAD) for i in range(6)]
    torch.testing.assert_close(torch.cat(alone), together)
    short = measure(net, ids[1:2, :15], scores[1:2, :15], filler=PAD)
    torch.testing.assert_close(short, together[1:2])


def test_what_is_no_token_of_the_text_is_never_removed():
    ids, scores = torch.tensor([[1, 5, 6, 2]]), torch.tensor([[9.0, 2.0, 1.0, 9.0]])
    tokens = torch.tensor([[False, True, True, False]])
    seen = []

    def forward(x):
        seen.append(x)
        return x[:, :2].float()

    comprehensiveness(forward, ids, scores, tokens, filler=0)
    sufficiency(forward, ids, scores, tokens, filler=0)
    assert (torch.cat(seen)[:, [0, 3]] == torch.tensor([1, 2])).all()
    assert seen[1].tolist() == [[1, 0, 6, 2]] * 5
    assert seen[3].tolist() == [[1, 5, 0, 2]] * 5


@pytest.mark.parametrize("measure", [comprehensiveness, sufficiency])
def test_texts_without_tokens_or_without_an_order_are_nan(texts, measure):
    ids, scores, tokens = texts
    tokens[0] = False
    scores[1] = 0.5
    scores[2, 0] = math.nan
    scores[3, 20] = math.nan
    got = measure(Bag(), ids, scores, tokens, filler=PAD)
    assert got.isnan().tolist() == [True, True, True, False, False, False]


@pytest.mark.parametrize("measure", [comprehensiveness, sufficiency])
def test_no_texts_give_no_figures(texts, measure):
    ids, scores, tokens = texts
    assert measure(Bag(), ids[:0], scores[:0], tokens[:0], filler=PAD).shape == (0,)


def test_bad_input_is_refused_in_words(texts):
    ids, scores, tokens = texts
    net = Bag()
    with pytest.raises(ShapeError, match=r"`scores` shape \(batch, tokens\); got \(6, 23\) and \(6, 22\)"):
        comprehensiveness(net, ids, scores[:, 1:], filler=PAD)
    with pytest.raises(ShapeError, match=r"`tokens` must have shape \(6, 23\), as the scores; got \(6, 22\)"):
        comprehensiveness(net, ids, scores, tokens[:, 1:], filler=PAD)
    with pytest.raises(KindError, match="`tokens` must be a boolean tensor"):
        comprehensiveness(net, ids, scores, tokens.int(), filler=PAD)
    with pytest.raises(KindError, match=r"`scores` must be floating point; got torch\.int64"):
        comprehensiveness(net, ids, ids, filler=PAD)
    for filler in (0.5, True, torch.zeros(3)):
        with pytest.raises(KindError, match="filled with a token id, an int, or by a function"):
            comprehensiveness(net, ids, scores, filler=filler)
    with pytest.raises(ShapeError, match=r"a number or have shape \(4,\); got \(3,\)"):
        comprehensiveness(net, torch.zeros(6, 23, 4), scores, filler=torch.zeros(3))
    for shares in ((), (0.0,), (1.5,), (math.nan,)):
        with pytest.raises(SettingError, match=r"must lie in \(0, 1\]"):
            comprehensiveness(net, ids, scores, filler=PAD, shares=shares)


def test_top_tokens_rounds_up_and_takes_the_first_of_equals():
    scores = torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.0]])
    assert top_tokens(scores, 0.4).tolist() == [[False, True, True, False, False]]
    assert top_tokens(scores, 0.41).sum() == 3
    assert top_tokens(scores, 0.001).sum() == 1
    tokens = torch.tensor([[True, False, False, False, True]])
    assert top_tokens(scores, 0.5, tokens).tolist() == [[True, False, False, False, False]]
    assert top_tokens(scores, 1.0, tokens).tolist() == tokens.tolist()
    assert 0.07 * 100 > 7
    assert top_tokens(torch.rand(1, 100), 0.07).sum() == 7


def test_scores_that_are_not_finite_choose_no_tokens_where_they_count():
    scores = torch.tensor([[1.0, torch.nan, 3.0], [1.0, 2.0, torch.inf]])
    assert not top_tokens(scores, 0.5).any()
    tokens = torch.tensor([[True, False, True], [True, True, False]])
    assert top_tokens(scores, 0.5, tokens).tolist() == [[False, False, True], [False, True, False]]


@pytest.mark.parametrize("length", range(1, 101))
def test_shares_are_whole_tokens_whatever_the_last_bit_says(length):
    scores = torch.arange(length, dtype=torch.float32)[None]
    for percent in (1, 5, 10, 20, 50):
        assert top_tokens(scores, percent / 100).sum() == -(-length * percent // 100)


@pytest.fixture
def rationales():
    generator = torch.Generator().manual_seed(5)
    predicted, gold = (torch.rand(60, 14, generator=generator) < 0.5 for _ in range(2))
    # Like the gold here and there, or no span would ever be found.
    predicted[:, :9] = gold[:, :9] ^ (torch.rand(60, 9, generator=generator) < 0.15)
    tokens = torch.arange(14) < torch.randint(1, 15, (60, 1), generator=generator)
    gold[0] = False
    predicted[1] = False
    gold[1, 0] = True
    return predicted, gold, tokens


def spans(marked):
    """Runs as sets of positions."""
    runs, run = [], set()
    for place, here in enumerate([*marked, False]):
        if here:
            run.add(place)
        elif run:
            runs.append(run)
            run = set()
    return runs


def f1(hits_of_predicted, predicted, hits_of_gold, gold):
    if gold == 0:
        return math.nan
    if hits_of_predicted == 0:
        return 0.0
    precision, recall = hits_of_predicted / predicted, hits_of_gold / gold
    return 2 * precision * recall / (precision + recall)


def same(got, expected):
    torch.testing.assert_close(got.double(), torch.tensor(expected, dtype=torch.float64), equal_nan=True)


def test_token_f1_is_the_harmonic_mean_of_precision_and_recall(rationales):
    predicted, gold, tokens = rationales
    expected = []
    for p, g, real in zip((predicted & tokens).tolist(), (gold & tokens).tolist(), tokens.tolist()):
        hits = sum(a and b for a, b, r in zip(p, g, real) if r)
        expected.append(f1(hits, sum(p), hits, sum(g)))
    same(token_f1(predicted, gold, tokens), expected)
    assert expected[1] == 0.0


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_span_f1_counts_the_runs_that_meet_a_run_of_the_other_side(rationales, threshold):
    predicted, gold, tokens = rationales
    expected = []
    for p, g in zip((predicted & tokens).tolist(), (gold & tokens).tolist()):
        mine, theirs = spans(p), spans(g)
        meets = [[len(a & b) / len(a | b) >= threshold for b in theirs] for a in mine]
        found = sum(any(row) for row in meets)
        met = sum(any(row[j] for row in meets) for j in range(len(theirs)))
        assert found == met
        expected.append(f1(found, len(mine), met, len(theirs)))
    same(span_f1(predicted, gold, tokens, threshold), expected)
    assert len({x for x in expected if not math.isnan(x)}) > 5


def test_runs_end_with_their_row():
    marked = torch.tensor([[False, True], [True, False]])
    assert span_f1(marked, marked).tolist() == [1.0, 1.0]
    assert span_f1(torch.tensor([[False, True], [False, False]]), marked).tolist() == [1.0, 0.0]


def test_area_under_precision_recall_is_average_precision_of_scikit_learn(rationales):
    _, gold, tokens = rationales
    scores = (torch.randn(60, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(6)) * 2).round() + 0.25
    expected = [
        average_precision_score(g[real], s[real]) if (g & real).any() else math.nan
        for s, g, real in zip(scores.numpy(), gold.numpy(), tokens.numpy())
    ]
    same(area_under_precision_recall(scores, gold, tokens), expected)
    ours = area_under_precision_recall(torch.ones(1, 4), torch.tensor([[True, False, False, False]]))
    assert ours.tolist() == [0.25]


def test_scores_of_nothing_are_nan():
    gold = torch.tensor([[True, False], [False, True], [True, False]])
    scores = torch.tensor([[0.0, 0.0], [math.nan, 1.0], [1.0, 0.0]])
    assert area_under_precision_recall(scores, gold).isnan().tolist() == [True, True, False]


def test_rationales_of_other_shapes_and_kinds_are_refused(rationales):
    predicted, gold, tokens = rationales
    for measure in (token_f1, span_f1):
        with pytest.raises(ShapeError, match=r"got \(60, 14\), \(60, 13\)"):
            measure(predicted, gold[:, 1:])
        with pytest.raises(ShapeError, match=r"and \(59, 14\)"):
            measure(predicted, gold, tokens[1:])
        with pytest.raises(KindError, match="`gold` must be a boolean"):
            measure(predicted, gold.float())
        assert measure(predicted[:0], gold[:0]).shape == (0,)
    with pytest.raises(SettingError, match=r"in \[0.5, 1\], where partners are unique; got 0.3"):
        span_f1(predicted, gold, threshold=0.3)
    with pytest.raises(ShapeError, match=r"`gold` must have shape \(60, 14\)"):
        area_under_precision_recall(torch.rand(60, 14), gold[:, 1:])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_text_is_measured_on_the_device_of_the_inputs(texts, rationales):
    ids, scores, tokens = texts
    net = Bag()
    here = comprehensiveness(net, ids, scores, tokens, filler=PAD)
    there = comprehensiveness(net.cuda(), ids.cuda(), scores, tokens, filler=PAD)
    torch.testing.assert_close(there.cpu(), here)
    predicted, gold, tokens = rationales
    same(span_f1(predicted.cuda(), gold, tokens).cpu(), span_f1(predicted, gold, tokens).tolist())
