"""``python -m benchmarks.attributions``: our attribution methods against Captum's, on one thread.

The net has two 5×5 convolutions of 20 and 50 channels, the inputs are 28×28. Both contestants take turns,
make the same number of points, and get the same bound on rows × points in a forward pass, which fixes the peak
of memory; the largest pass that the net saw is measured beside the time, and so is how far the maps differ.
Times are CPU seconds, which neighbours on a shared machine disturb less than the clock on the wall.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from explain.methods import feature_groups, integrated_gradients, kernel_shap
from workbench.nets import Conv5

from .records import versions

__all__ = ["Duel", "as_table", "duel", "main"]


@dataclass(frozen=True)
class Duel:
    """What one comparison gave.

    Attributes
    ----------
    work : str
    batch_size : int
        Rows × points per forward pass that both were allowed.
    ours, captum : list of float
        CPU seconds, round by round.
    passes : tuple of int
        Rows of the largest forward pass: ours, Captum's.
    difference : float
        Largest difference of the two maps, as a share of the largest score. Methods that draw at
        random differ by their draws.
    """

    work: str
    batch_size: int
    ours: list[float]
    captum: list[float]
    passes: tuple[int, int]
    difference: float

    @property
    def ratio(self) -> float:
        """Median over the rounds of our time divided by Captum's."""
        return median(a / b for a, b in zip(self.ours, self.captum, strict=True))


def duel(work: str, net: nn.Module, batch_size: int, ours: Callable[[], Tensor], captum: Callable[[], Tensor],
         repeats: int) -> Duel:  # fmt: skip
    """Let two contestants take turns, and compare what they make."""
    with _largest_pass(net) as our_pass:
        our_map = ours()
    with _largest_pass(net) as captums_pass:
        captums_map = captum()
    seconds: dict[str, list[float]] = {"ours": [], "captum": []}
    turns = [("ours", ours), ("captum", captum)]
    for round_ in range(repeats):
        for name, contestant in turns if round_ % 2 == 0 else turns[::-1]:
            begin = time.process_time()
            contestant()
            seconds[name].append(time.process_time() - begin)
    difference = float((our_map - captums_map).detach().abs().max() / captums_map.abs().max())
    passes = (max(our_pass), max(captums_pass))
    return Duel(work, batch_size, seconds["ours"], seconds["captum"], passes, difference)


@contextmanager
def _largest_pass(net: nn.Module) -> Iterator[list[int]]:
    """Collect the number of rows of each forward pass."""
    seen: list[int] = []

    def count(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(len(given[0]))

    handle = net.register_forward_pre_hook(count)
    try:
        yield seen
    finally:
        handle.remove()


def _duels(net: nn.Module, inputs: Tensor, steps: int, samples: int, repeats: int) -> Iterator[Duel]:
    from captum.attr import IntegratedGradients, KernelShap

    gradients, shap = IntegratedGradients(net), KernelShap(net)
    groups = feature_groups(inputs.shape[1:])

    def predicted() -> Tensor:
        with torch.no_grad():
            return net(inputs).argmax(dim=1)

    def captums_shap() -> Tensor:
        with warnings.catch_warnings():
            # It says that it takes one row at a time: that is what is measured.
            warnings.filterwarnings("ignore", message="You are providing multiple inputs")
            return shap.attribute(
                inputs, target=3, feature_mask=groups[None], n_samples=samples, perturbations_per_eval=256
            )

    for batch_size in (64, 256, 1024):
        yield duel(
            f"integrated gradients, {steps} steps, one class", net, batch_size,
            lambda: integrated_gradients(net, inputs, 3, steps=steps, batch_size=batch_size).scores,  # noqa: B023
            lambda: gradients.attribute(inputs, target=3, n_steps=steps, internal_batch_size=batch_size),  # noqa: B023
            repeats,
        )  # fmt: skip
    yield duel(
        f"integrated gradients, {steps} steps, class predicted", net, 256,
        lambda: integrated_gradients(net, inputs, "max_logit", steps=steps, batch_size=256).scores,
        lambda: gradients.attribute(inputs, target=predicted(), n_steps=steps, internal_batch_size=256),
        repeats,
    )  # fmt: skip
    # Ours shares a patch's value out among its elements; Captum repeats it.
    elements = torch.bincount(groups.flatten())[groups]
    yield duel(
        f"KernelSHAP, 49 patches, {samples} samples", net, 256,
        lambda: kernel_shap(net, inputs, 3, samples=samples, batch_size=256).scores * elements,
        captums_shap,
        repeats,
    )  # fmt: skip


def as_table(duels: Sequence[Duel]) -> str:
    """Return a Markdown table, one line a comparison."""
    lines = [
        "| method | rows × points a pass | ours: best, median CPU s | Captum: best, median CPU s | ours / Captum | "
        "largest pass: ours, Captum | maps differ by |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in duels:
        times = [f"{min(seconds):.3f}, {median(seconds):.3f}" for seconds in (one.ours, one.captum)]
        lines.append(
            f"| {one.work} | {one.batch_size} | {times[0]} | {times[1]} | {one.ratio:.2f} | "
            f"{one.passes[0]}, {one.passes[1]} | {one.difference:.1e} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attributions", description=__doc__)
    parser.add_argument("--rows", type=int, default=16, help="images explained at once")
    parser.add_argument("--steps", type=int, default=50, help="steps of integrated gradients")
    parser.add_argument("--samples", type=int, default=200, help="coalitions of KernelSHAP")
    parser.add_argument("--repeats", type=int, default=7, help="rounds")
    asked = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        net = Conv5().eval()
        inputs = torch.rand(asked.rows, 1, 28, 28)
        done = list(_duels(net, inputs, asked.steps, asked.samples, asked.repeats))
    finally:
        torch.set_num_threads(threads)
    print(as_table(done))
    print(f"\n{asked.rows} rows, one thread, {asked.repeats} rounds in turns; ours / Captum: median of the rounds.")
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
