import pytest
import torch
from torch import nn

from explain import Forward
from workbench.classifier import Classifier, to_unit_interval
from workbench.errors import ClassifierError, LayerError
from workbench.nets import Mlp, SmallConv

NAMES = tuple("abcdefghij")


class Residual(nn.Module):
    """Overwrites what its layer returned, as residual networks do."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)
        self.unused = nn.Linear(4, 2)
        self.pair = Pair()

    def forward(self, inputs):
        out = self.layer(inputs)
        out += inputs
        self.pair(out)
        return self.head(out.relu_())


class Pair(nn.Module):
    def forward(self, inputs):
        return inputs, inputs


@pytest.fixture
def conv():
    torch.manual_seed(0)
    return Classifier(SmallConv(), NAMES)


def hooks(model):
    parts = model.module.modules()
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in parts)


def test_a_classifier_is_a_forward(conv):
    assert isinstance(conv, Forward)


def test_bytes_are_scaled_and_floats_left_alone(conv):
    ready = torch.rand(2, 1, 28, 28)
    assert conv.prepare(ready) is ready
    scaled = conv.prepare(torch.full((2, 1, 28, 28), 255, dtype=torch.uint8))
    assert scaled.dtype == torch.float32
    assert (scaled == 1).all()
    assert conv.preprocess is to_unit_interval


def test_a_preprocessing_of_ones_own_is_used():
    model = Classifier(Mlp(), NAMES, preprocess=lambda batch: batch.float() - 1)
    assert (model.prepare(torch.ones(1, 1, 28, 28, dtype=torch.uint8)) == 0).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("cat", "dog", "cat"), "unique; 'cat' repeat"),
        ((), r"got \(\)"),
        ((0, 1), r"as text and in order; got \(0, 1\)"),
        ("ab", "got 'ab'"),
    ],
)
def test_class_names_must_be_text_and_unique(names, message):
    with pytest.raises(ClassifierError, match=message):
        Classifier(Mlp(), names)


def test_a_wrong_number_of_names_shows_at_the_first_forward_pass():
    model = Classifier(Mlp(), ("yes", "no"))
    with pytest.raises(ClassifierError, match=r"shape \(3, 2\) for the 2 classes named; got \(3, 10\)"):
        model(torch.zeros(3, 1, 28, 28))


def test_a_module_must_return_a_tensor():
    with pytest.raises(ClassifierError, match="got tuple"):
        Classifier(Pair(), ("a", "b"))(torch.zeros(1, 2))


def test_layers_come_out_of_one_forward_pass(conv):
    calls = []
    conv.module.register_forward_hook(lambda *_: calls.append(1))
    inputs = torch.rand(3, 1, 28, 28)
    logits, layers = conv.with_layers(inputs, ["features.2", "embedding"])
    assert len(calls) == 1
    module = conv.module
    torch.testing.assert_close(layers["features.2"], module.features[2](module.features[:2](inputs)))
    torch.testing.assert_close(layers["embedding"], module.hidden(module.features(inputs)))
    torch.testing.assert_close(logits, module.head(layers["embedding"]))


def test_a_layer_named_as_embedding_gives_its_output():
    model = Classifier(SmallConv(), NAMES, embedding="features")
    _, layers = model.with_layers(torch.rand(3, 1, 28, 28), ["embedding"])
    assert layers["embedding"].shape == (3, 16, 7, 7)
    assert model.copy().with_layers(torch.rand(1, 1, 28, 28), ["embedding"])[1]["embedding"].shape[1] == 16


def test_layers_stay_connected_to_the_logits(conv):
    logits, layers = conv.with_layers(torch.rand(3, 1, 28, 28), ["features"])
    assert layers["features"].grad_fn is not None
    assert logits.requires_grad


def test_a_later_in_place_operation_does_not_overwrite_a_layer():
    model = Classifier(Residual(), ("a", "b"))
    inputs = torch.randn(5, 4)
    with torch.no_grad():
        _, layers = model.with_layers(inputs, ["layer"])
        assert torch.equal(layers["layer"], model.module.layer(inputs))


def test_an_unknown_layer_gets_the_nearest_name(conv):
    with pytest.raises(LayerError, match=r"^No layer 'feature'.*did you mean 'features'\? It has: features,"):
        conv.with_layers(torch.rand(1, 1, 28, 28), ["feature"])
    with pytest.raises(LayerError, match="No layer 'hiden'"):
        Classifier(SmallConv(), NAMES, embedding="hiden")


def test_layers_that_cannot_be_kept_are_refused():
    model = Classifier(Residual(), ("a", "b"))
    with pytest.raises(LayerError, match="'unused' must run"):
        model.with_layers(torch.zeros(1, 4), ["unused"])
    with pytest.raises(LayerError, match="'pair' must give a tensor to be kept; it gives tuple"):
        model.with_layers(torch.zeros(1, 4), ["pair"])


def test_without_a_linear_layer_the_embedding_must_be_named():
    with pytest.raises(LayerError, match=r"has none; name a layer"):
        Classifier(nn.Sequential(nn.Flatten()), ("a", "b")).with_layers(torch.zeros(1, 2), ["embedding"])


def test_hooks_are_taken_off_even_after_an_exception(conv):
    inputs = torch.rand(1, 1, 28, 28)
    conv.with_layers(inputs, ["features", "embedding", "features"])
    with pytest.raises(LayerError):
        conv.with_layers(inputs, ["features", "nowhere"])
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        conv.with_layers(torch.rand(1, 1, 9, 9), ["features"])
    assert hooks(conv) == 0


def test_modes_come_back_as_they_were_even_after_an_exception():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    module[1].eval()
    model = Classifier(module, ("a", "b"))
    before = [part.training for part in module.modules()]
    with model.evaluating() as inside:
        assert inside is model
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == before

    def fails():
        with model.evaluating():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert [part.training for part in module.modules()] == before


def test_a_copy_shares_no_weights(conv):
    copied = conv.copy()
    with torch.no_grad():
        copied.module.head.bias.add_(1)
    inputs = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(copied(inputs), conv(inputs) + 1)
    assert (copied.classes, copied.on, copied.preprocess) == (conv.classes, conv.on, conv.preprocess)


def test_nets_follow_the_shape_of_their_inputs():
    colour = torch.zeros(2, 3, 17, 30)
    assert SmallConv((4, 8, 8), 12, inputs=(3, 17, 30), classes=5)(colour).shape == (2, 5)
    assert SmallConv((), 12, inputs=(3, 17, 30), classes=5)(colour).shape == (2, 5)
    assert Mlp((3, 17, 30), (), 4)(colour).shape == (2, 4)
    assert [part.out_features for part in Mlp().modules() if isinstance(part, nn.Linear)] == [50, 30, 10]
