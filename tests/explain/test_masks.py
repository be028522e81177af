import pytest
import torch
from torch import nn

from explain import KindError, ShapeError, resize_mask
from explain.masks import mask_on_layer


def mask_of(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.1


@pytest.mark.parametrize("size", [(3, 4), (5, 7), (7, 7), (14, 10)])
def test_a_cell_is_marked_if_any_part_of_it_is(size):
    mask = mask_of(3, 7, 10)
    found = resize_mask(mask, size)
    for i in range(size[0]):
        for j in range(size[1]):
            # The span of the cell, in exact fractions of the mask's places.
            rows = slice(i * 7 // size[0], -(-(i + 1) * 7 // size[0]))
            columns = slice(j * 10 // size[1], -(-(j + 1) * 10 // size[1]))
            assert torch.equal(found[:, i, j], mask[:, rows, columns].flatten(1).any(dim=1))


def test_a_mask_may_be_laid_on_another_length():
    stroke = torch.zeros(1, 6, dtype=torch.bool)
    stroke[0, 3] = True
    assert resize_mask(stroke, (3,)).tolist() == [[False, True, False]]


def test_a_size_that_does_not_fit_the_mask_is_refused():
    with pytest.raises(ShapeError, match=r"got \(2, 2\) and \(3, 4\)"):
        resize_mask(torch.ones(3, 4, dtype=torch.bool), (2, 2))
    with pytest.raises(KindError, match="boolean"):
        resize_mask(torch.ones(3, 4, 4), (2, 2))


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 3, 8, 8)])
def test_an_image_s_mask_is_laid_on_the_grid_of_a_convolution(shape):
    mask = mask_of(*shape)
    flat = mask if mask.ndim == 3 else mask.any(dim=1)
    found = mask_on_layer(mask, torch.rand(2, 5, 4, 4))
    assert torch.equal(found, resize_mask(flat, (4, 4))[:, None].expand(2, 5, 4, 4))


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 3, 8, 8)])
@pytest.mark.parametrize("first", [0, 1])
def test_an_image_s_mask_is_laid_on_the_patches_of_a_transformer(shape, first):
    mask = mask_of(*shape)
    flat = mask if mask.ndim == 3 else mask.any(dim=1)
    found = mask_on_layer(mask, torch.rand(2, first + 16, 5))
    assert not found[:, :first].any()
    patches = flat.reshape(2, 4, 2, 4, 2).any(dim=4).any(dim=2).flatten(1)
    assert torch.equal(found[:, first:], patches[:, :, None].expand(2, 16, 5))


@pytest.mark.parametrize(("height", "width"), [(32, 128), (128, 32), (32, 48), (48, 16)])
@pytest.mark.parametrize("first", [0, 1])
def test_patches_of_an_oblong_image_lie_on_an_oblong_grid(height, width, first):
    """Also where there are as many of them as a square has: 4 × 16."""
    down, across = height // 8, width // 8
    for row in range(down):
        for column in (0, across - 1):
            mask = torch.zeros(1, height, width, dtype=torch.bool)
            mask[0, 8 * row + 3, 8 * column + 5] = True
            activation = torch.rand(1, first + down * across, 4)
            found = mask_on_layer(mask[:, None], activation)
            assert found[0, :, 0].nonzero().flatten().tolist() == [first + row * across + column]
            assert found.all(dim=2).sum() == 1
            assert torch.equal(mask_on_layer(mask, activation, torch.rand(1, 3, height, width)), found)


def test_the_inputs_tell_a_square_signal_from_an_image():
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[0, 5, 3] = True
    as_signal = mask_on_layer(mask, torch.rand(1, 5, 8), torch.rand(1, 16, 16))
    assert as_signal.all(dim=1)[0].nonzero().flatten().tolist() == [1]
    as_image = mask_on_layer(mask, torch.rand(1, 16, 8), torch.rand(1, 1, 16, 16))
    assert as_image.all(dim=2)[0].nonzero().flatten().tolist() == [4]


def test_what_may_be_tokens_or_a_signal_is_refused_until_it_is_said():
    mask = torch.zeros(1, 4, 6, dtype=torch.bool)
    mask[0, 1] = True
    with pytest.raises(ShapeError, match="may mark tokens or places of a signal"):
        mask_on_layer(mask, torch.rand(1, 4, 3), torch.rand(1, 4, 6))
    tokens = mask_on_layer(mask.any(dim=2), torch.rand(1, 4, 3), torch.rand(1, 4, 6))
    assert tokens.all(dim=2)[0].tolist() == [False, True, False, False]
    assert not tokens[0, 0].any()
    signal = mask_on_layer(mask.any(dim=1, keepdim=True), torch.rand(1, 4, 3), torch.rand(1, 4, 6))
    assert signal.all()


def test_a_mask_of_tokens_fits_no_layer_with_more_of_them():
    mask = torch.tensor([[False, True, False, False]])
    with pytest.raises(ShapeError, match="mask of tokens"):
        mask_on_layer(mask, torch.rand(1, 5, 8), torch.tensor([[3, 1, 4, 1]]))
    with pytest.raises(ShapeError, match="mask of tokens"):
        mask_on_layer(mask, torch.rand(1, 5, 2), torch.tensor([[3, 1, 4, 1]]))


def test_a_mask_of_tokens_lies_on_a_convolution_over_them():
    mask = torch.tensor([[False, True, False, False]])
    found = mask_on_layer(mask, torch.rand(1, 16, 4), torch.tensor([[3, 1, 4, 1]]))
    assert found.all(dim=1)[0].tolist() == [False, True, False, False]


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 3, 8, 8)])
def test_tokens_that_are_no_patches_make_no_grid(shape):
    """Two more than 4 × 4, as with a second token that is none, or registers."""
    with pytest.raises(ShapeError, match="No rule lays a mask"):
        mask_on_layer(mask_of(*shape), torch.rand(2, 18, 5))


@pytest.mark.parametrize("channels", [15, 16, 17])
def test_a_signal_s_mask_is_laid_on_the_length_of_a_convolution_of_any_number_of_channels(channels):
    """16 and 17 are also the numbers of tokens of 4 × 4 patches."""
    mask = torch.zeros(2, 6, 32, dtype=torch.bool)
    mask[0, 3, 8:10] = True
    expected = torch.zeros(2, channels, 16, dtype=torch.bool)
    expected[0, :, 4] = True
    layer = nn.Conv1d(6, channels, 3, stride=2, padding=1)
    for said in (mask, mask.any(dim=1), mask.any(dim=1, keepdim=True)):
        assert torch.equal(mask_on_layer(said, layer(torch.rand(2, 6, 32))), expected)


def test_tokens_are_laid_on_all_their_features():
    mask = mask_of(2, 7)
    assert torch.equal(mask_on_layer(mask, torch.rand(2, 7, 5)), mask[:, :, None].expand(2, 7, 5))


def test_with_its_channel_axis_a_signal_is_never_taken_for_tokens():
    mask = torch.zeros(1, 1, 8, dtype=torch.bool)
    mask[0, 0, 2] = True
    found = mask_on_layer(mask, torch.rand(1, 8, 4))
    assert found[0, 0].tolist() == [False, True, False, False]
    assert torch.equal(found, found[:, :1].expand(1, 8, 4))
    assert mask_on_layer(mask[:, 0], torch.rand(1, 8, 4))[0, 2].all()


@pytest.mark.parametrize(("mask", "activation"), [((2, 8, 8), (3, 5, 4, 4)), ((2, 8), (2, 5)), ((2, 8, 8), (2, 64))])
def test_shapes_without_a_rule_are_refused(mask, activation):
    with pytest.raises(ShapeError, match="No rule lays a mask"):
        mask_on_layer(mask_of(*mask), torch.rand(activation))
