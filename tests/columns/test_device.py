"""Devices: chosen once, models copied and never moved, copies that overlap with computing."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn

from columns import ImageColumn, ScalarColumn, TensorColumn
from columns.device import copy_on, place, resolve_device
from columns.functions import Function

gpu = pytest.mark.gpu
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def jpegs(count: int, size: int = 64) -> ImageColumn:
    import io

    from PIL import Image

    pictures = []
    for seed in range(8):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG")
        pictures.append(buffer.getvalue())
    return ImageColumn([pictures[i % 8] for i in range(count)])


class OnPictures(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.to(next(self.body.parameters()).dtype) / 255)


def test_auto_takes_the_best_device_there_is() -> None:
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert resolve_device("auto").type == best
    assert resolve_device("cpu") == torch.device("cpu")


def test_a_model_on_its_device_is_used_as_it_is() -> None:
    model = net()
    assert copy_on(model, torch.device("cpu")) is model
    assert place(Function(model, device="cpu")) == (model, torch.device("cpu"))


def test_a_copy_is_made_once_for_each_state_of_the_weights() -> None:
    # The meta device stands for any other: nothing is computed there.
    model, there = nn.Linear(2, 2), torch.device("meta")
    first = copy_on(model, there)
    assert copy_on(model, there) is first
    assert next(model.parameters()).device.type == "cpu"
    assert next(first.parameters()).device.type == "meta"
    with torch.no_grad():
        model.weight += 1
    assert copy_on(model, there) is not first


def test_an_object_is_asked_for_its_likeness_on_the_device() -> None:
    class Classifier:
        def __init__(self) -> None:
            self.module, self.asked = nn.Linear(3, 2), []

        def on(self, device: torch.device):
            self.asked.append(device)
            return self.module

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("its likeness is called instead")

    one = Classifier()
    column = TensorColumn(np.ones((2, 3), np.float32)).map(one, to="tensor", batched=True, device="cpu")
    assert column.to_torch().shape == (2, 2)
    assert one.asked == [torch.device("cpu")]


def test_channels_last_and_autocast_give_the_same_scores_within_tolerance() -> None:
    model, images = OnPictures(net()), jpegs(16)
    plain = images.map(model, to="tensor", device="cpu").to_torch()
    last = images.map(model, to="tensor", device="cpu", channels_last=True).to_torch()
    half = images.map(model, to="tensor", device="cpu", autocast="bfloat16").to_torch()
    torch.testing.assert_close(last, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(half, plain, rtol=0.05, atol=0.02)


def test_decoding_goes_on_while_the_batch_before_is_computed() -> None:
    from columns import FileColumn

    spans: dict[str, list[tuple[float, float]]] = {"read": [], "compute": []}

    def load(path):
        begun = time.perf_counter()
        time.sleep(0.002)
        spans["read"].append((begun, time.perf_counter()))
        return 1

    def compute(x):
        begun = time.perf_counter()
        time.sleep(0.02)
        spans["compute"].append((begun, time.perf_counter()))
        return x

    from pathlib import Path

    here = str(Path(__file__))
    FileColumn([here] * 64, load).map(compute, to="scalar", batched=True, batch_size=16).to_list()
    assert any(r[0] < c[1] and c[0] < r[1] for r in spans["read"] for c in spans["compute"]), "they overlap"


@gpu
@needs_cuda
def test_scores_are_those_of_the_cpu_within_tolerance_and_the_model_is_not_moved() -> None:
    model, images = OnPictures(net()), jpegs(300)
    on_gpu = images.map(model, to="tensor").to_torch()
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    torch.testing.assert_close(on_gpu, images.map(model, to="tensor", device="cpu").to_torch(), rtol=1e-3, atol=1e-4)
    half = images.map(model, to="tensor", autocast="float16").to_torch()
    torch.testing.assert_close(half, on_gpu, rtol=0.05, atol=0.02)
    last = images.map(model, to="tensor", channels_last=True).to_torch()
    torch.testing.assert_close(last, on_gpu, rtol=1e-3, atol=1e-4)


@gpu
@needs_cuda
def test_a_model_that_lives_on_the_gpu_stays_there_and_a_changed_weight_is_seen() -> None:
    model = nn.Linear(4, 2).cuda()
    column = TensorColumn(np.ones((8, 4), np.float32)).map(model, to="tensor")
    before = column.to_torch().clone()
    with torch.no_grad():
        model.weight += 1
    torch.testing.assert_close(column.to_torch(), model(torch.ones(8, 4, device="cuda")).detach().cpu())
    assert not torch.equal(column.to_torch(), before)
    by_row = TensorColumn(np.ones((3, 4), np.float32)).map(model, to="tensor", batched=False)
    assert by_row.to_torch().shape == (3, 2)


@gpu
@needs_cuda
def test_real_out_of_memory_halves_the_batch_and_goes_on() -> None:
    free, _ = torch.cuda.mem_get_info()
    sizes = []

    class Hungry(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            each = free // 24  # 32 rows do not fit, 16 do
            block = torch.empty((len(x), each), dtype=torch.uint8, device=x.device)
            return x * self.weight + block[:, :1] * 0

    column = TensorColumn(np.arange(64, dtype=np.float32)[:, None]).map(Hungry(), to="tensor", batch_size=64)
    assert column.to_numpy()[:, 0].tolist() == list(range(64))
    assert sizes[0] == 64
    assert max(sizes[-3:]) < 32


@gpu
@needs_cuda
def test_copying_overlaps_with_computing() -> None:
    images = jpegs(2048, 128)
    model = OnPictures(
        nn.Sequential(nn.Conv2d(3, 64, 7), nn.ReLU(), nn.Conv2d(64, 64, 7), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )

    def seconds(function) -> float:
        torch.cuda.synchronize()
        begun = time.perf_counter()
        function()
        torch.cuda.synchronize()
        return time.perf_counter() - begun

    images[:256].map(model, to="tensor").to_list()  # the first use of a device is slow
    together = seconds(lambda: images.map(model, to="tensor").to_torch())
    decode = seconds(lambda: images.map(lambda x: x[:, 0, 0, 0], to="scalar", batched=True).to_list())
    batch = torch.zeros((256, 3, 128, 128), dtype=torch.uint8)
    moved = copy_on(model, resolve_device("cuda"))

    def copy_and_compute() -> None:
        with torch.no_grad():
            for _ in range(8):
                moved(batch.cuda()).cpu()

    assert together <= 1.05 * (decode + seconds(copy_and_compute))


@gpu
@needs_cuda
def test_nearest_rows_are_found_on_the_gpu() -> None:
    from columns import EmbeddingColumn

    data = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    column = EmbeddingColumn(data)
    for metric in ("cosine", "dot", "euclidean"):
        there, here = (column.nearest(data[:9], 5, metric, device=d) for d in ("cuda", "cpu"))
        np.testing.assert_array_equal(there.rows, here.rows)


def test_batches_fit_the_size_of_a_row() -> None:
    sizes: list[int] = []

    def note(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return x.flatten(1).float().mean(dim=1)

    TensorColumn(np.zeros((3000, 1), np.float32)).map(note, to="scalar", batched=True).compute()
    assert max(sizes) == 1024
    sizes.clear()
    wide = TensorColumn(np.zeros((70, 1 << 19), np.uint8)).map(note, to="scalar", batched=True)
    wide.compute()
    assert max(sizes) == 32
    sizes.clear()
    # What was computed and kept counts as well.
    kept = ScalarColumn(list(range(70))).map(
        lambda x: torch.zeros(1 << 19, dtype=torch.uint8), to="tensor", batch_size=7
    )
    kept.compute()
    kept[::-1].map(note, to="scalar", batched=True).compute()
    assert max(sizes) == 32
    sizes.clear()
    jpegs(200, 16).map(note, to="scalar", batched=True).compute()
    assert max(sizes) == 128


def test_one_row_larger_than_any_batch_is_a_batch() -> None:
    # 2^40 bytes a row, none of them in memory.
    row = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (3, 1 << 20, 1 << 20), (0, 0, 0))
    column = TensorColumn(row)
    from columns.demand import Pass, missing_rows
    from columns.passes import _Run

    mapped = column.map(lambda x: x, to="scalar", batched=True)
    missing, _ = missing_rows([(mapped.node, mapped.selection)], retry=False)
    (work,) = [Pass(missing)]
    ((picks, _),) = work.groups()
    assert _Run(picks, True)._batch_size() == 1
