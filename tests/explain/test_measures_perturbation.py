import math

import pytest
import torch
from torch import nn

from explain import KindError, SettingError, ShapeError, TargetError
from explain.measures import PerturbationCurve, aopc, deletion, filled, insertion


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3)).double().eval()


@pytest.fixture
def images():
    return torch.rand(4, 2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def scores():
    return torch.randn(4, 2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def slow_curve(net, image, score, empty, steps, *, insert):
    """Samek's and Petsiuk's procedure for one row, one pixel after the other."""
    places = [(score[:, y, x].sum().item(), -(y * 5 + x), y, x) for y in range(6) for x in range(5)]
    order = [(y, x) for *_, y, x in sorted(places, reverse=True)]
    predicted = net(image[None]).argmax().item()
    values = []
    for step in range(steps + 1):
        now = (empty if insert else image).clone()
        for y, x in order[: math.floor(step * len(order) / steps + 0.5)]:
            now[:, y, x] = (image if insert else empty)[:, y, x]
        values.append(net(now[None]).softmax(1)[0, predicted].item())
    return values


@pytest.mark.parametrize("insert", [False, True])
@pytest.mark.parametrize("steps", [1, 7, 30])
def test_curves_are_those_of_removing_pixel_after_pixel(net, images, scores, insert, steps):
    curve = (insertion if insert else deletion)(net, images, scores, filler=0.25, steps=steps, batch_size=11)
    empty = torch.full_like(images, 0.25)
    for row in range(4):
        with torch.no_grad():
            expected = slow_curve(net, images[row], scores[row], empty[row], steps, insert=insert)
        assert curve.values[row].tolist() == pytest.approx(expected, abs=1e-12)
        area = sum(
            (b - a) * (v + w) / 2 for a, b, v, w in zip(curve.fractions, curve.fractions[1:], expected, expected[1:])
        )
        assert curve.area[row].item() == pytest.approx(float(area), abs=1e-12)
    assert curve.fractions[0] == 0
    assert curve.fractions[-1] == 1


def test_aopc_is_the_mean_drop(net, images, scores):
    curve = deletion(net, images, scores, filler="mean", steps=5)
    expected = [sum(row[0] - value for value in row) / 6 for row in curve.values.tolist()]
    assert aopc(curve).tolist() == pytest.approx(expected, abs=1e-12)
    with pytest.raises(SettingError, match=r"got one of insertion\. Use `deletion`"):
        aopc(insertion(net, images, scores, filler="mean", steps=5))


def test_insertion_is_deletion_backwards_when_the_order_is_reversed(net, images, scores):
    down = deletion(net, images, scores, filler=0.0, steps=6).values
    up = insertion(net, images, -scores, filler=0.0, steps=6).values
    torch.testing.assert_close(up, down.flip(1))


def test_the_better_map_of_a_linear_model_has_the_smaller_area_under_deletion():
    weights = torch.tensor([4.0, 2.0, 1.0, 0.0, -2.0])
    forward = lambda x: torch.stack([x @ weights, torch.zeros(len(x))], dim=1)  # noqa: E731
    inputs = torch.ones(1, 5)
    true, wrong = weights[None], -weights[None]
    assert (
        deletion(forward, inputs, true, filler=0.0, steps=5).area
        < deletion(forward, inputs, wrong, filler=0.0, steps=5).area
    )
    logits = deletion(forward, inputs, true, filler=0.0, steps=5, target=0).values
    assert logits.tolist() == [[5.0, 1.0, -1.0, -2.0, -2.0, 0.0]]


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_no_forward_pass_is_larger_than_asked_and_the_values_do_not_depend_on_it(net, images, scores, batch_size):
    sizes = []

    def counted(inputs):
        sizes.append(len(inputs))
        return net(inputs)

    curve = deletion(counted, images, scores, filler="blur", steps=4, batch_size=batch_size)
    torch.testing.assert_close(curve.values, deletion(net, images, scores, filler="blur", steps=4).values)
    assert max(sizes) <= batch_size
    assert sum(sizes) == 4 + 4 * 5


@pytest.mark.parametrize("measure", [deletion, insertion])
def test_a_row_has_the_same_curve_alone_and_in_a_batch(net, images, scores, measure):
    for filler in (0.5, "mean", "blur"):
        together = measure(net, images, scores, filler=filler, steps=4).values
        alone = [measure(net, images[[i]], scores[[i]], filler=filler, steps=4).values for i in range(4)]
        torch.testing.assert_close(torch.cat(alone), together)


def test_scores_come_with_one_channel_none_or_all(net, images, scores):
    summed = scores.sum(dim=1)
    values = deletion(net, images, scores, filler=0.0, steps=4).values
    for same in (summed, summed.unsqueeze(1)):
        assert torch.equal(deletion(net, images, same, filler=0.0, steps=4).values, values)


def test_embedded_tokens_go_whole_when_the_channels_are_last():
    inputs = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(0))
    scores = torch.rand(2, 5, generator=torch.Generator().manual_seed(1))
    seen = []

    def forward(x):
        seen.append(x)
        return x.sum(dim=1)

    deletion(forward, inputs, scores, filler=-1.0, steps=5, channel_axis=-1)
    removed = (seen[1] == -1.0).reshape(2, 6, 5, 3)
    assert (removed.all(dim=3) == removed.any(dim=3)).all()
    assert removed.any(dim=3).sum(dim=2).tolist() == [[0, 1, 2, 3, 4, 5]] * 2
    assert removed[:, 1].any(dim=2).int().argmax(dim=1).tolist() == scores.argmax(dim=1).tolist()


def test_maps_that_name_no_order_are_nan(net, images, scores):
    scores[0] = 0.0
    scores[1] = 3.0
    scores[2, 0, 1, 1] = math.nan
    curve = deletion(net, images, scores, filler=0.0, steps=3)
    assert curve.values.isnan().all(dim=1).tolist() == [True, True, True, False]
    assert curve.area.isnan().tolist() == [True, True, True, False]
    assert not curve.values[3].isnan().any()


def test_targets_and_labels_reach_the_rows_that_they_belong_to(net, images, scores):
    labels = torch.tensor([2, 0, 1, 2])
    values = deletion(
        net, images, scores, filler=0.0, steps=3, target="label_log_probability", labels=labels, batch_size=5
    ).values
    expected = net(images).log_softmax(1)[torch.arange(4), labels]
    torch.testing.assert_close(values[:, 0], expected.detach())
    with pytest.raises(TargetError, match="needs `labels`"):
        deletion(net, images, scores, filler=0.0, steps=3, target="label_log_probability")
    with pytest.raises(ShapeError, match=r"`labels` must have shape \(4,\), one per row; got \(3,\)"):
        deletion(net, images, scores, filler=0.0, target="label_log_probability", labels=labels[:3])


def test_no_rows_give_no_curves(net, images, scores):
    curve = deletion(net, images[:0], scores[:0], filler="mean", steps=3)
    assert curve.values.shape == (0, 4)
    assert curve.area.shape == (0,)


def test_nothing_is_left_behind(net, images, scores):
    images.requires_grad_()
    curve = insertion(net, images, scores, filler="mean", steps=3)
    assert not curve.values.requires_grad
    assert all(weight.grad is None for weight in net.parameters())
    assert images.grad is None


def test_bad_input_is_refused_in_words(net, images, scores):
    with pytest.raises(ShapeError, match=r"\(4, 2, 6, 5\) or \(4, 1, 6, 5\) or \(4, 6, 5\); got \(4, 2, 6\)"):
        deletion(net, images, scores[..., 0], filler=0.0)
    with pytest.raises(KindError, match=r"`scores` must be floating point; got torch.bool"):
        deletion(net, images, scores > 0, filler=0.0)
    with pytest.raises(KindError, match=r"`inputs` must be floating point"):
        deletion(net, images.int(), scores, filler=0.0)
    with pytest.raises(SettingError, match=r"`steps` must lie in \[1, 30\], the number of places of a row; got 31"):
        deletion(net, images, scores, filler=0.0, steps=31)
    with pytest.raises(SettingError, match="`batch_size` must be a whole number of at least 1; got 0"):
        deletion(net, images, scores, filler=0.0, batch_size=0)
    for axis in (0, 4, -4):
        with pytest.raises(SettingError, match="`channel_axis` must be an axis of the inputs"):
            deletion(net, images, scores, filler=0.0, channel_axis=axis)
    with pytest.raises(ShapeError, match=r"Logits must have shape \(batch, classes\)"):
        deletion(lambda x: x, images, scores, filler=0.0)


def test_the_mean_is_that_of_the_rows_own_channel(images):
    expected = torch.stack([torch.stack([channel.mean() for channel in image]) for image in images])
    mean = filled(images, "mean")
    assert mean.shape == images.shape
    torch.testing.assert_close(mean[:, :, 3, 4], expected)
    by_feature = filled(images[:, 0], "mean", channel_axis=-1)
    torch.testing.assert_close(by_feature[:, 2], images[:, 0].mean(dim=1))


def test_the_blur_is_a_gaussian_over_a_border_repeated_outwards(images):
    height, width = 6, 5
    deviation = 0.5
    radius = 2
    weights = [math.exp(-0.5 * (d / deviation) ** 2) for d in range(-radius, radius + 1)]
    weights = [w / sum(weights) for w in weights]
    blurred = filled(images, "blur")
    for y, x in [(0, 0), (2, 3), (5, 4)]:
        expected = sum(
            weights[i]
            * weights[j]
            * images[1, 1, min(max(y + i - 2, 0), height - 1), min(max(x + j - 2, 0), width - 1)]
            for i in range(5)
            for j in range(5)
        )
        assert blurred[1, 1, y, x].item() == pytest.approx(expected.item(), abs=1e-12)


def test_a_blurred_constant_is_the_constant():
    flat = torch.full((1, 1, 1, 9), 0.3, dtype=torch.float64)
    torch.testing.assert_close(filled(flat, "blur"), flat)


def test_a_tensor_stands_in_for_every_row_or_row_by_row(net, images, scores):
    donor = torch.rand(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    end = deletion(net, images, scores, filler=donor, steps=2, target=0).values[:, -1]
    torch.testing.assert_close(end, net(donor[None])[:, 0].detach().expand(4))
    swapped = deletion(net, images, scores, filler=images.roll(1, 0), steps=2, target=0).values
    torch.testing.assert_close(swapped[:, -1], swapped[:, 0].roll(1))


def test_fillers_that_do_not_exist_or_fit_are_refused(images):
    with pytest.raises(SettingError, match="a number, a tensor, or one of mean, blur; got 'median'"):
        filled(images, "median")
    with pytest.raises(SettingError, match=r"`references.mean\(0\)`"):
        filled(images.flatten(1), "mean")
    with pytest.raises(SettingError, match=r"shape \(batch, channels, height, width\); got \(4, 6, 5\)"):
        filled(images[:, 0], "blur")
    with pytest.raises(ShapeError, match=r"shape \(4, 2, 6, 5\); got \(3,\)"):
        filled(images, torch.zeros(3))


def test_a_curve_says_what_it_is(net, images, scores):
    assert repr(insertion(net, images, scores, filler="blur", steps=3)) == (
        "PerturbationCurve(insertion with blur, 4 rows × 4 points)"
    )
    assert repr(PerturbationCurve("deletion", "0.0", torch.zeros(2), torch.zeros(1, 2))).endswith("1 row × 2 points)")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_curves_are_made_on_the_device_of_the_inputs(net, images, scores):
    labels = torch.tensor([2, 0, 1, 2])
    for target in (None, "label_log_probability"):
        here = deletion(net.cpu(), images, scores, filler="blur", steps=4, target=target, labels=labels).values
        there = deletion(net.cuda(), images.cuda(), scores, filler="blur", steps=4, target=target, labels=labels.cuda())
        assert there.values.is_cuda
        torch.testing.assert_close(there.values.cpu(), here)


def test_the_largest_logit_is_that_of_the_class_predicted_for_the_unperturbed_row():
    """Refilled with −1 the other class wins; its rise says nothing about what was explained."""
    model = lambda x: torch.stack([x.sum(dim=1), -x.sum(dim=1)], dim=1)  # noqa: E731
    row = torch.tensor([[0.8, 0.9, 0.7, 0.86]])
    curve = deletion(model, row, row, filler=-1.0, steps=4, target="max_logit")
    assert curve.values[0].tolist() == pytest.approx([3.26, 1.36, -0.5, -2.3, -4.0], abs=1e-5)
    with pytest.raises(TargetError, match="drawn anew at each call"):
        deletion(model, row, row, filler=-1.0, steps=4, target="random_sign_logits")


def test_a_model_that_begins_in_place_does_not_write_into_the_inputs(net, images, scores):
    class Shifted(nn.Module):
        def forward(self, x):
            return net(x.sub_(0.5))

    given = images.clone()
    found = deletion(Shifted(), given, scores, filler=0.25, steps=5)
    assert torch.equal(given, images)
    torch.testing.assert_close(
        found.values, deletion(lambda x: net(x - 0.5), images, scores, filler=0.25, steps=5).values
    )
