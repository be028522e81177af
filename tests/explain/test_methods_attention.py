import itertools
import math
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from explain.errors import GraphError, LayerError, SettingError, ShapeError, TargetError
from explain.methods.attention import _Attending, attention_rollout, gradient_attention

HEADS, TOKENS, WIDTH = 2, 5, 8


class Block(nn.Module):
    """Attention written by hand around the one function, with a residual and a nonlinearity."""

    def __init__(self, **settings):
        super().__init__()
        self.qkv, self.out, self.settings = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), settings

    def forward(self, x):
        q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=2))
        gathered = F.scaled_dot_product_attention(q, k, v, **self.settings)
        return x + torch.tanh(self.out(gathered.transpose(1, 2).flatten(2)))


class Reader(nn.Module):
    """Blocks over tokens, and a classifier that reads the first."""

    def __init__(self, *blocks, embed=None):
        super().__init__()
        self.embed, self.blocks, self.head = embed, nn.Sequential(*blocks), nn.Linear(WIDTH, 3)

    def forward(self, x):
        x = x if self.embed is None else self.embed(x)
        return self.head(self.blocks(x)[:, 0])


def by_hand(**settings):
    torch.manual_seed(0)
    return Reader(Block(**settings), Block(**settings)).double().eval()


def by_torch(**settings):
    torch.manual_seed(0)
    layers = [nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=True, **settings) for _ in range(2)]
    return Reader(*layers).double().eval()


@pytest.fixture
def inputs():
    return torch.randn(3, TOKENS, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def weights_slowly(layer, x):
    """Attention weights of one row, head by head; shape (heads, tokens, tokens)."""
    if isinstance(layer, Block):
        matrix, bias = layer.qkv.weight, layer.qkv.bias
    else:
        matrix, bias = layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias
    q, k, _ = (x @ matrix.T + bias).chunk(3, dim=1)
    maps = []
    for head in range(HEADS):
        part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
        scores = q[:, part] @ k[:, part].T / math.sqrt(WIDTH // HEADS)
        maps.append(torch.softmax(scores, dim=1))
    return torch.stack(maps)


@pytest.mark.parametrize("build", [by_hand, by_torch])
@pytest.mark.parametrize("token", [0, -1, "mean"])
def test_rollout_multiplies_the_mixed_maps_of_all_layers(build, token, inputs):
    net = build()
    scores = attention_rollout(net, inputs, token=token).scores
    for row, x in enumerate(inputs):
        flow = torch.eye(TOKENS, dtype=torch.float64)
        for layer in net.blocks:
            mixed = 0.5 * weights_slowly(layer, x).mean(dim=0) + 0.5 * torch.eye(TOKENS)
            flow = (mixed / mixed.sum(dim=1, keepdim=True)) @ flow
            x = layer(x[None])[0]
        expected = flow.mean(dim=0) if token == "mean" else flow[token]
        torch.testing.assert_close(scores[row], expected.detach())
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(3, dtype=torch.float64))


@torch.no_grad()
def run_slowly(net, x, given=None):
    """Return logits and attention maps of one row; the maps given, by layer, take the place of its own."""
    maps = []
    for number, layer in enumerate(net.blocks):
        maps.append((given or {}).get(number, weights_slowly(layer, x)))
        if isinstance(layer, Block):
            values = layer.qkv(x)[:, 2 * WIDTH :].chunk(HEADS, dim=1)
            gathered = torch.cat([weights @ value for weights, value in zip(maps[-1], values)], dim=1)
            x = x + torch.tanh(layer.out(gathered))
        else:
            attention = layer.self_attn
            values = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)[:, 2 * WIDTH :].chunk(HEADS, dim=1)
            gathered = torch.cat([weights @ value for weights, value in zip(maps[-1], values)], dim=1)
            x = layer.norm1(x + attention.out_proj(gathered))
            x = layer.norm2(x + layer.linear2(torch.relu(layer.linear1(x))))
    return net.head(x[0]), maps


def relevance_slowly(net, x, target):
    """Differentiate by moving one attention weight after another; what is above its layer follows."""
    relevance, step = torch.eye(TOKENS, dtype=torch.float64), 1e-5
    for number, weights in enumerate(run_slowly(net, x)[1]):
        gathered = torch.zeros(TOKENS, TOKENS, dtype=torch.float64)
        for head, i, j in itertools.product(range(HEADS), range(TOKENS), range(TOKENS)):
            change = torch.zeros_like(weights)
            change[head, i, j] = step
            up, down = (float(run_slowly(net, x, {number: weights + way * change})[0][target]) for way in (1, -1))
            gathered[i, j] += max(0.0, (up - down) / (2 * step) * float(weights[head, i, j])) / HEADS
        relevance = relevance + gathered @ relevance
    return relevance - torch.eye(TOKENS)


@pytest.mark.parametrize("build", [by_hand, by_torch])
def test_gradient_attention_gathers_the_positive_products_layer_by_layer(build, inputs):
    net = build()
    torch.testing.assert_close(torch.stack([run_slowly(net, x)[0] for x in inputs]), net(inputs).detach())
    expected = torch.stack([relevance_slowly(net, x, target=1) for x in inputs[:2]])
    for token in (0, "mean"):
        scores = gradient_attention(net, inputs[:2], 1, token=token).scores
        by_token = expected.mean(dim=1) if token == "mean" else expected[:, token]
        assert by_token.max() > 0.001
        torch.testing.assert_close(scores, by_token, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("build", [by_hand, by_torch])
def test_frozen_weights_and_token_numbers_are_no_obstacle(build):
    net = build()
    net.embed = nn.Embedding(10, WIDTH).double()
    tokens = torch.randint(0, 10, (3, TOKENS), generator=torch.Generator().manual_seed(2))
    expected = gradient_attention(net, tokens, 1).scores
    net.requires_grad_(False)
    assert expected.max() > 0.001
    torch.testing.assert_close(gradient_attention(net, tokens, 1).scores, expected)


def test_labels_choose_the_logit(inputs):
    net = by_hand()
    labels = torch.tensor([2, 0, 1])
    together = gradient_attention(net, inputs, "label_logit", labels, batch_size=2).scores
    for row, label in enumerate(labels):
        torch.testing.assert_close(together[row], gradient_attention(net, inputs[row : row + 1], int(label)).scores[0])
    with pytest.raises(TargetError, match="needs `labels`"):
        gradient_attention(net, inputs, "label_logit")


QKV = [torch.randn(2, 4, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
ALLOWED = torch.rand(5, 5, generator=torch.Generator().manual_seed(9)) < 0.6
ALLOWED[3] = False


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": ALLOWED},
        {"attn_mask": ALLOWED.expand(2, 4, 5, 5)},
        {"attn_mask": torch.randn(2, 1, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(7))},
    ],
)
def test_attention_in_plain_steps_is_torchs_own(settings):
    expected = F.scaled_dot_product_attention(*QKV, **settings)
    with _Attending() as attending:
        output = F.scaled_dot_product_attention(*QKV, dropout_p=0.0, **settings)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(attending.maps[0].weights() @ QKV[2], expected)
    assert not output.isnan().any()


def test_grouped_queries_share_keys_and_values():
    q, k, v = QKV[0], QKV[1][:, :2], QKV[2][:, :2]
    expected = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    with _Attending():
        torch.testing.assert_close(F.scaled_dot_product_attention(q, k, v, enable_gqa=True), expected)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_torchs_module_gives_what_it_gives_otherwise(need_weights, average, masked, inputs):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double().eval()
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]]) if masked else None
    settings = {"need_weights": need_weights, "average_attn_weights": average, "key_padding_mask": padding}
    expected = module(inputs, inputs, inputs, **settings)
    with _Attending() as attending:
        output = module(inputs, inputs, inputs, **settings)
    torch.testing.assert_close(output, expected)
    assert attending.maps[0].shape == (3, HEADS, TOKENS, TOKENS)
    if masked:
        assert not attending.maps[0].weights()[1, :, :, 3:].any()


def test_the_fast_path_of_the_encoder_is_not_taken(inputs, monkeypatch):
    net, taken, fast = by_torch(), [], torch._transformer_encoder_layer_fwd
    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", lambda *args: taken.append(1) or fast(*args))
    with torch.no_grad():
        expected = net(inputs)
        assert len(taken) == 2
        with _Attending() as attending:
            output = net(inputs)
    assert len(taken) == len(attending.maps) == 2
    torch.testing.assert_close(output, expected)


def test_dropout_of_attention_is_off(inputs):
    net = by_hand(dropout_p=0.9)
    torch.testing.assert_close(attention_rollout(net, inputs).scores, attention_rollout(by_hand(), inputs).scores)


def test_padding_gets_nothing(inputs):
    mask = torch.tensor([True, True, True, False, False])
    for method in (attention_rollout, gradient_attention):
        scores = method(by_hand(attn_mask=mask), inputs).scores
        assert not scores[:, 3:].any()
        assert scores[:, 1:3].min() >= 0 < scores[:, 1:3].max()


def test_another_thread_is_not_listened_to(inputs):
    def elsewhere():
        F.scaled_dot_product_attention(*QKV)

    with _Attending() as attending:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert attending.maps == []


def test_a_model_without_attention_is_told_what_is_needed(inputs):
    net = nn.Sequential(nn.Flatten(), nn.Linear(TOKENS * WIDTH, 3)).double()
    for method in (attention_rollout, gradient_attention):
        with pytest.raises(LayerError, match=r'no call was seen.*attn_implementation="sdpa"'):
            method(net, inputs)


def test_attention_across_sequences_is_refused(inputs):
    def crossing(x):
        return F.scaled_dot_product_attention(x[:, None, :2], x[:, None], x[:, None])[:, 0, 0]

    def windows(x):
        x = x.flatten(0, 1)[:, None, None]
        return F.scaled_dot_product_attention(x, x, x)[:3, 0, 0]

    for model, found in ((crossing, r"\(3, 1, 2, 5\)"), (windows, r"\(15, 1, 1, 1\)")):
        with pytest.raises(ShapeError, match=f"attention 0 has {found}"):
            attention_rollout(model, inputs)


def test_a_target_that_ignores_attention_is_refused(inputs):
    def detached(x):
        return F.scaled_dot_product_attention(x, x, x)[:, 0].detach()

    def unused(x):
        F.scaled_dot_product_attention(x, x, x)
        return x.requires_grad_()[:, 0]

    for model in (detached, unused):
        with pytest.raises(GraphError, match="must depend on the attention through autograd"):
            gradient_attention(model, inputs)


@pytest.mark.parametrize(
    ("token", "message"), [(5, r"must lie in \[-5, 5\)"), ("cls", "got 'cls'"), (True, "got True")]
)
def test_the_token_is_a_position_or_mean(token, message, inputs):
    with pytest.raises(SettingError, match=message):
        attention_rollout(by_hand(), inputs, token=token)
