import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from explain import Batch, GraphError, LayerError, Rationale, SettingError, ShapeError
from explain.losses import ExplanationRegularization
from explain.testing import SILENT, LossTests

ROWS, TOKENS = 6, 5


class Reader(nn.Module):
    """Token numbers, (batch, 5), to three classes; layer `emb` gives (batch, 5, 4)."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(9, 4)
        self.above = nn.Sequential(nn.Flatten(), nn.Linear(20, 6), nn.Tanh(), nn.Linear(6, 3))

    def forward(self, tokens):
        return self.above(self.emb(tokens))


def attributions(net, tokens, target):
    """Σ_d e_td ∂target/∂e_td for each token of one row, by central differences."""
    with torch.no_grad():
        embedded = net.emb(tokens[None])[0]
        found = []
        for token in range(TOKENS):
            total = 0.0
            for feature in range(4):
                above, below = embedded.clone(), embedded.clone()
                above[token, feature] += 1e-5
                below[token, feature] -= 1e-5
                slope = (target(net.above(above[None])[0]) - target(net.above(below[None])[0])).item() / 2e-5
                total += embedded[token, feature].item() * slope
            found.append(total)
    return found


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


class TokenTests(LossTests):
    """`LossTests` on rows of tokens."""

    @pytest.fixture
    def net(self):
        torch.manual_seed(0)
        return Reader().double()

    @pytest.fixture
    def batch(self):
        tokens = torch.randint(0, 9, (ROWS, TOKENS), generator=torch.Generator().manual_seed(1))
        return Batch(tokens, torch.tensor([0, 1, 2, 0, 1, 2]))

    @pytest.fixture
    def rationale(self):
        irrelevant = torch.tensor(
            [[0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0] * 5, [0, 0, 0, 1, 0], [0, 1, 1, 1, 0], [0] * 5]
        )
        relevant = torch.tensor([[1, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0] * 5, [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1] * 5])
        return Rationale(irrelevant=irrelevant.bool(), relevant=relevant.bool())


class TestMeanSquares(TokenTests):
    loss = ExplanationRegularization(weight=0.7, layer="emb", scale=2.0)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Mean over marked tokens of (σ(a) − r)²."""
        scores = attributions(net, inputs, lambda logits: logits[label])
        apart = [
            (sigmoid(2 * a) - float(r)) ** 2 for a, r, i in zip(scores, relevant, irrelevant, strict=True) if r or i
        ]
        return sum(apart) / len(apart)


class TestCrossEntropyOfAllTokens(TokenTests):
    loss = ExplanationRegularization(
        weight=0.7, layer="emb", distance="bce", target="max_logit", unknown="irrelevant", padding=4
    )
    lr = 0.05

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Mean over tokens that are not padding of −log σ(a), or −log(1 − σ(a)) where not relevant."""
        scores = attributions(net, inputs, max)
        apart = [
            -math.log(sigmoid(a) if r else 1 - sigmoid(a))
            for a, r, token in zip(scores, relevant, inputs, strict=True)
            if token != 4
        ]
        return sum(apart) / len(apart)


class TestDivergence(TokenTests):
    loss = ExplanationRegularization(weight=0.7, layer="emb", distance="kl", scale=3.0)

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Σ r̄ log(r̄ / q) with q the softmax over the tokens marked."""
        scores = attributions(net, inputs, lambda logits: logits[label])
        marked = [t for t in range(TOKENS) if relevant[t] or irrelevant[t]]
        total = sum(math.exp(3 * scores[t]) for t in marked)
        many = int(relevant.sum())
        return sum(1 / many * math.log((1 / many) / (math.exp(3 * scores[t]) / total)) for t in marked if relevant[t])


class TestOrder(TokenTests):
    loss = ExplanationRegularization(weight=0.7, layer="emb", distance="order", unknown="irrelevant")
    first_order = True  # the largest of several has kinks
    lr = 0.05

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Σ over relevant of min(s / max over the others − 1, 0)²."""
        scores = [sigmoid(a) for a in attributions(net, inputs, lambda logits: logits[label])]
        others = [scores[t] for t in range(TOKENS) if not relevant[t]]
        if not others:
            return 0.0
        return sum(min(scores[t] / max(others) - 1, 0) ** 2 for t in range(TOKENS) if relevant[t])


class TestMagnitudes(TokenTests):
    loss = ExplanationRegularization(weight=0.7, layer="emb", signed=False)
    first_order = True

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Mean over marked tokens of (|a| / max |a| − r)²."""
        scores = attributions(net, inputs, lambda logits: logits[label])
        marked = [t for t in range(TOKENS) if relevant[t] or irrelevant[t]]
        largest = max(abs(scores[t]) for t in marked)
        return sum((abs(scores[t]) / largest - float(relevant[t])) ** 2 for t in marked) / len(marked)


class TestDivergenceOfMagnitudes(TokenTests):
    loss = ExplanationRegularization(weight=0.7, layer="emb", distance="kl", signed=False)
    first_order = True
    tolerance = 1e-2  # a floor of 1e-4 under each share keeps the logarithm in bounds

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Σ r̄ log(r̄ / q) with q = |a| / Σ|a| over the tokens marked."""
        scores = attributions(net, inputs, lambda logits: logits[label])
        marked = [t for t in range(TOKENS) if relevant[t] or irrelevant[t]]
        total = sum(abs(scores[t]) for t in marked)
        many = int(relevant.sum())
        return sum(1 / many * math.log((1 / many) * total / abs(scores[t])) for t in marked if relevant[t])


class TestCrossEntropyOfMagnitudes(TokenTests):
    loss = ExplanationRegularization(weight=0.7, layer="emb", distance="bce", signed=False)
    first_order = True

    def by_the_paper(self, net, inputs, label, irrelevant, relevant):
        """Mean of −log s, or −log(1 − s) where irrelevant, with s = |a| / max |a| kept off 0 and 1."""
        scores = attributions(net, inputs, lambda logits: logits[label])
        marked = [t for t in range(TOKENS) if relevant[t] or irrelevant[t]]
        largest = max(abs(scores[t]) for t in marked)
        shares = {t: min(max(abs(scores[t]) / largest, 1e-4), 1 - 1e-4) for t in marked}
        return sum(-math.log(shares[t] if relevant[t] else 1 - shares[t]) for t in marked) / len(marked)


class Linear(nn.Module):
    """Reads each embedded token by a weight of its own."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float64))

    def forward(self, embedded):
        said = embedded[:, :, 0] @ self.weights
        return torch.stack([torch.zeros_like(said), said], dim=1)


def ones(rows, tokens):
    return Batch(torch.ones(rows, tokens, 1, dtype=torch.float64), torch.ones(rows, dtype=torch.int64))


RELEVANT = torch.tensor([[True, False, False]])
EVERY = [(distance, signed) for distance in ("mse", "bce", "kl", "order") for signed in (True, False)]


def test_a_token_that_is_marked_both_ways_counts_as_irrelevant():
    both = Rationale(irrelevant=torch.tensor([[True, False, False]]), relevant=RELEVANT)
    penalty = ExplanationRegularization(1.0)(Linear([2.0, 1.0, 0.0]), ones(1, 3), both)
    assert penalty.item() == pytest.approx(sigmoid(2) ** 2)


def test_unknown_tokens_count_only_if_they_are_read_as_irrelevant():
    said, model = Rationale(relevant=RELEVANT), Linear([2.0, 1.0, -1.0])
    ignored = ExplanationRegularization(1.0)(model, ones(1, 3), said)
    assert ignored.item() == pytest.approx((1 - sigmoid(2)) ** 2)
    read = ExplanationRegularization(1.0, unknown="irrelevant")(model, ones(1, 3), said)
    assert read.item() == pytest.approx(((1 - sigmoid(2)) ** 2 + sigmoid(1) ** 2 + sigmoid(-1) ** 2) / 3)


@pytest.mark.parametrize(("distance", "signed"), EVERY)
def test_a_model_that_reads_the_marked_token_alone_costs_less(distance, signed):
    loss = ExplanationRegularization(1.0, distance=distance, signed=signed, unknown="irrelevant")
    right, wrong = (
        loss(Linear(weights), ones(1, 3), Rationale(relevant=RELEVANT)).item()
        for weights in ([5.0, 0.0, 0.0], [0.0, 5.0, 0.0])
    )
    assert 0 <= right < 0.5 * wrong


@pytest.mark.parametrize(("distance", "signed"), EVERY)
def test_a_model_that_reads_nothing_has_a_finite_penalty_and_slope(distance, signed):
    model = Linear([0.0, 0.0, 0.0])
    loss = ExplanationRegularization(1.0, distance=distance, signed=signed, unknown="irrelevant")
    penalty = loss(model, ones(1, 3), Rationale(relevant=RELEVANT))
    assert penalty.isfinite().all()
    torch.autograd.backward(penalty.sum())
    assert model.weights.grad.isfinite().all()


@pytest.mark.parametrize(("distance", "signed"), EVERY)
def test_marks_on_padding_alone_cost_nothing(distance, signed):
    torch.manual_seed(0)
    net = Reader()
    loss = ExplanationRegularization(1.0, layer="emb", distance=distance, signed=signed, padding=0)
    relevant = torch.tensor([[False, False, False, False, True]])
    said = Rationale(relevant=relevant, irrelevant=torch.zeros_like(relevant))
    penalty = loss(net, Batch(torch.tensor([[1, 2, 3, 0, 0]]), torch.tensor([1])), said)
    assert penalty.tolist() == [0.0]
    torch.autograd.backward(penalty.sum())
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in net.parameters())


def test_padding_changes_nothing():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Linear(4, 2), Summed())
    loss = ExplanationRegularization(1.0, layer="0", unknown="irrelevant", padding=0)
    short, long = torch.tensor([[5, 3, 2]]), torch.tensor([[5, 3, 2, 0, 0]])
    penalties = [
        loss(net, Batch(tokens, torch.tensor([1])), Rationale(relevant=tokens == 3)).item() for tokens in (short, long)
    ]
    assert penalties[0] == pytest.approx(penalties[1])


class Summed(nn.Module):
    def forward(self, scores):
        return scores.sum(dim=1)


def test_a_frozen_embedding_can_be_attributed_to():
    torch.manual_seed(0)
    net = Reader()
    batch = Batch(torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([1]))
    said = Rationale(relevant=batch.inputs == 3)
    loss = ExplanationRegularization(1.0, layer="emb")
    expected = loss(net, batch, said).item()
    net.emb.requires_grad_(False)
    penalty = loss(net, batch, said)
    assert penalty.item() == expected
    torch.autograd.backward(penalty.sum())
    assert net.above[1].weight.grad is not None
    assert net.emb.weight.grad is None


@pytest.mark.parametrize("seed", [0, 1])
def test_training_moves_a_text_model_to_the_marked_token(seed):
    """Two tokens tell the label; the model leans on the louder one, until told which one matters."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    tokens = torch.randint(4, 9, (64, TOKENS), generator=generator)
    tokens[:, 1], tokens[:, 3] = labels, labels + 2
    batch, said = Batch(tokens, labels), Rationale(relevant=(tokens == 2) | (tokens == 3))
    accuracy = []
    for loss in (None, ExplanationRegularization(2.0, layer="emb", distance="kl", unknown="irrelevant")):
        torch.manual_seed(seed)
        net = Reader()
        net.emb.weight.data[0], net.emb.weight.data[1] = 1.0, -1.0
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        for _ in range(120):
            optimizer.zero_grad()
            total = nn.functional.cross_entropy(net(tokens), labels)
            if loss is not None:
                total = total + loss(net, batch, said).mean()
            torch.autograd.backward(total)
            optimizer.step()
        lying = tokens.clone()
        lying[:, 1] = 1 - labels
        accuracy.append((net(lying).argmax(dim=1) == labels).double().mean().item())
    assert accuracy[0] < 0.2
    assert accuracy[1] > 0.95


def test_masks_and_embeddings_that_do_not_fit_are_refused():
    said = Rationale(relevant=RELEVANT)
    with pytest.raises(ShapeError, match=r"`relevant` must hold one mark for each token, shape \(1, 4\); got \(1, 3\)"):
        ExplanationRegularization(1.0)(Linear([1.0] * 4), ones(1, 4), said)
    tokens = Batch(torch.ones(1, 5, dtype=torch.int64), torch.tensor([0]))
    with pytest.raises(ShapeError, match=r"\(batch, tokens, features\); got \(1, 20\)"):
        ExplanationRegularization(1.0, layer="above.0")(Reader(), tokens, said)
    with pytest.raises(LayerError, match="No layer 'embed'"):
        ExplanationRegularization(1.0, layer="embed")(Reader(), tokens, said)


def test_padding_without_token_numbers_is_refused():
    with pytest.raises(SettingError, match=r"needs inputs that are such; got torch\.float64"):
        ExplanationRegularization(1.0, padding=0)(Linear([1.0] * 3), ones(1, 3), Rationale(relevant=RELEVANT))


def test_a_model_that_does_not_read_the_embedding_is_refused():
    with pytest.raises(GraphError, match="depend on the inputs"):
        ExplanationRegularization(1.0)(
            lambda embedded: torch.zeros(1, 2, dtype=torch.float64), ones(1, 3), Rationale(relevant=RELEVANT)
        )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"distance": "l1"}, "one of mse, bce, kl, order; got 'l1'"),
        ({"unknown": "relevant"}, "one of ignored, irrelevant; got 'relevant'"),
        ({"scale": 0.0}, "positive and finite; got 0.0"),
        ({"scale": math.inf}, "positive and finite"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(SettingError, match=words):
        replace(ExplanationRegularization(), **settings)
    assert SILENT == 2, "the masks above leave this row without a mark"


@pytest.mark.parametrize("distance", ["kl", "order"])
def test_a_comparison_with_irrelevant_tokens_of_which_there_are_none_is_refused(distance):
    """It would cost nothing, whatever the model reads."""
    batch = Batch(torch.rand(2, 3, 4), torch.tensor([0, 1]))
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    marks = torch.tensor([[True, False, False]]).expand(2, 3)
    with pytest.raises(SettingError, match="there is no mask of irrelevant ones"):
        ExplanationRegularization(distance=distance)(net, batch, Rationale(relevant=marks))
    for loss in (ExplanationRegularization(distance=distance, unknown="irrelevant"), ExplanationRegularization()):
        assert (loss(net, batch, Rationale(relevant=marks)) >= 0).all()
