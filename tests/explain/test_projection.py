import pytest
import torch
from torch import nn

from explain import LayerError, SettingError, ShapeError
from explain.concepts import Concept, concept_direction
from explain.projection import Projected, project_out
from explain.testing import Smooth


def vectors(features, seed=0):
    generator = torch.Generator().manual_seed(seed)
    direction, mean = torch.randn(2, features, dtype=torch.float64, generator=generator)
    return direction / direction.norm(), mean


@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 4), None), ((3, 5, 4), None), ((3, 4, 5), 1), ((3, 4, 2, 5), None), ((3, 2, 5, 4), -1)]
)
def test_each_place_is_projected_by_the_formula(shape, axis):
    """a − v vᵀ(a − mean), as a matrix."""
    direction, mean = vectors(4)
    activation = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = Projected(nn.Identity(), direction, mean, axis)(activation)
    assert found.shape == activation.shape
    matrix = torch.eye(4, dtype=torch.float64) - torch.outer(direction, direction)
    position = {None: -1 if len(shape) == 3 else 1}.get(axis, axis)
    before = activation.movedim(position, -1).reshape(-1, 4)
    after = found.movedim(position, -1).reshape(-1, 4)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(other, matrix @ one + torch.outer(direction, direction) @ mean)


def test_projecting_twice_changes_nothing_more():
    direction, mean = vectors(4)
    once = Projected(nn.Identity(), direction, mean)
    activation = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(once(once(activation)), once(activation))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Smooth().double()


@pytest.fixture
def inputs():
    return torch.rand(6, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_an_artefact_that_a_linear_layer_passes_on_is_gone():
    """The artefact adds to the first input; the layer maps it to one direction, which is removed."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.Softplus(), nn.Linear(4, 3)).double()
    clean = torch.randn(40, 5, dtype=torch.float64)
    affected = clean.clone()
    affected[:, 0] += torch.rand(40, dtype=torch.float64) + 1
    assert not torch.allclose(net(clean), net(affected), atol=1e-3)
    projected = project_out(net, concept_direction(net, "0", affected, clean))
    torch.testing.assert_close(projected(clean), projected(affected))


def test_the_model_itself_is_not_changed(net, inputs):
    before = net(inputs)
    names = list(net.state_dict())
    projected = project_out(net, Concept("conv", *vectors(3)))
    assert not torch.allclose(projected(inputs), before)
    assert torch.equal(net(inputs), before)
    assert list(net.state_dict()) == names
    assert not set(net.parameters()) & set(projected.parameters())


def test_its_state_can_be_saved_and_loaded_into_another_copy(net, inputs):
    projected = project_out(net, Concept("conv", *vectors(3)))
    assert {"conv.direction", "conv.mean", "conv.inner.weight"} <= set(projected.state_dict())
    other = project_out(Smooth().double(), Concept("conv", *vectors(3, seed=5)))
    other.load_state_dict(projected.state_dict())
    assert torch.equal(other(inputs), projected(inputs))


def test_it_can_be_trained_on_with_the_direction_as_it_is(net, inputs):
    projected = project_out(net, Concept("conv", *vectors(3)))
    torch.autograd.backward(projected(inputs).square().sum())
    gradient = projected.conv.inner.weight.grad
    assert gradient is not None
    assert "conv.direction" not in dict(projected.named_parameters())
    # What the layer gives along the direction no longer matters, so that nothing pulls on it.
    torch.testing.assert_close(
        torch.einsum("o,oikl->ikl", vectors(3)[0], gradient), torch.zeros(2, 3, 3, dtype=torch.float64)
    )


def test_a_layer_is_projected_wherever_it_is_used():
    layer = nn.Linear(3, 3, dtype=torch.float64)
    net = nn.Sequential(layer, nn.Tanh(), nn.Sequential(layer, nn.Linear(3, 2, dtype=torch.float64)))
    projected = project_out(net, Concept("0", *vectors(3)))
    assert isinstance(projected[0], Projected)
    assert projected[2][0] is projected[0]
    assert len(list(projected.parameters())) == len(list(net.parameters()))


def test_modes_stay_as_they_are_and_can_be_set(net):
    net.eval()
    net.conv.train()
    projected = project_out(net, Concept("conv", *vectors(3)))
    assert projected.conv.training
    assert projected.conv.inner.training
    assert not projected.head.training
    projected.eval()
    assert not projected.conv.inner.training


def test_parts_of_the_layer_keep_modes_of_their_own():
    block = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout()).train()
    block[1].eval()  # frozen statistics
    projected = Projected(block, torch.tensor([1.0, 0.0]), torch.zeros(2))
    assert [part.training for part in projected.modules()] == [True, True, True, False, True]


def test_settings_of_the_layer_can_be_read_through_it():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0)
    net = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
    direction, mean = vectors(4)
    projected = project_out(net, Concept("layers.0", direction.float(), mean.float()))
    assert projected.layers[0].self_attn.num_heads == 2
    assert projected(torch.rand(2, 5, 4)).shape == (2, 5, 4)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        projected.layers[0].nothing_like_it


class Pair(nn.Module):
    def forward(self, inputs):
        return inputs, inputs


def test_what_cannot_be_projected_is_refused(net, inputs):
    direction, mean = vectors(3)
    with pytest.raises(LayerError, match="No layer 'cnov'"):
        project_out(net, Concept("cnov", direction, mean))
    with pytest.raises(ShapeError, match=r"must give 3 features.* got shape \(6, 2, 4, 4\)"):
        project_out(net, Concept("features", direction, mean))(inputs)
    with pytest.raises(LayerError, match="Pair gives tuple"):
        Projected(Pair(), direction, mean)(inputs)
    with pytest.raises(ShapeError, match=r"got \(3,\) and \(2,\)"):
        Projected(nn.Identity(), direction, mean[:2])
    with pytest.raises(SettingError, match="must have unit norm; got 2"):
        Projected(nn.Identity(), 2 * direction, mean)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("name", ["linear1", "linear2", "norm1", "norm2"])
@pytest.mark.parametrize("padded", [False, True])
def test_torch_s_transformers_do_not_pass_it_by_in_evaluation(name, padded):
    """They have a way of their own there, on which parts are not called but only their weights read."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    net = nn.TransformerEncoder(layer, 2).eval()
    direction, mean = (vector.float() for vector in vectors(16 if name == "linear1" else 8))
    clean = project_out(net, Concept(f"layers.1.{name}", direction, mean))
    inputs = torch.randn(3, 5, 8)
    padding = (torch.arange(5) >= torch.tensor([[5], [3], [2]])) if padded else None
    with torch.no_grad():
        found, before = (model(inputs, src_key_padding_mask=padding) for model in (clean, net))
    differentiable = clean(inputs, src_key_padding_mask=padding)
    text = torch.ones(3, 5, dtype=torch.bool) if padding is None else ~padding
    torch.testing.assert_close(found[text], differentiable[text], rtol=1e-4, atol=1e-5)
    assert (found - before)[text].abs().max() > 1e-3


def test_a_model_made_half_as_precise_is_projected_in_its_own_type():
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    concept = Concept("0", torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0]))
    found = project_out(net.bfloat16(), concept)(torch.rand(4, 3, dtype=torch.bfloat16))
    assert found.dtype == torch.bfloat16
