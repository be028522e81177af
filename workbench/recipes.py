"""Recipes: for each of the demo's data, a network, how it is fooled, and how it is put right.

Measured with seeds 0, 1 and 2 on one CPU thread, before → after: accuracy on the decoyed test rows,
mean share of saliency on the swatch, and CPU seconds of training and fine-tune.

=============  ==================  ==================  ==================  =============  ===========
data           seed 0              seed 1              seed 2              saliency       seconds
=============  ==================  ==================  ==================  =============  ===========
digits         .489 → .986         .556 → .969         .547 → .958         .12 → .0014    3 + 5
mnist          .547 → .974         .555 → .978         .530 → .974         .07 → .0001    2 + 11
fashion-mnist  .428 → .876         .442 → .875         .448 → .878         .09 → .0009    2 + 11
=============  ==================  ==================  ==================  =============  ===========

For digits, half the channels do as well in the end but are fooled less surely (.54–.59 before,
.95–.98 after); a perceptron of 128 and 64 is fooled more and recovers less (.44–.51, .94–.97).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial

import torch
from torch import nn

from explain import RightReasons, Swap

from .errors import RunError
from .nets import Mlp, SmallConv
from .record import TrainingSettings

__all__ = ["FINE_TUNE", "RECIPES", "DemoSettings", "recipe"]


@dataclass(frozen=True)
class DemoSettings:
    """What the demo does with one of its data.

    Attributes
    ----------
    data : str
        Name of the data.
    net : callable
        Makes the network.
    plain : TrainingSettings
        The training that falls for the swatch.
    fine_tune : TrainingSettings
        The training that is told that the swatch must not matter.
    held_out : float
        Share of the originals held out of both, to choose the state of the fine-tune by.
    """

    data: str
    net: Callable[[], nn.Module]
    plain: TrainingSettings
    fine_tune: TrainingSettings
    held_out: float

    def build(self, seed: int) -> nn.Module:
        """Make the network with weights drawn by the seed.

        Parameters
        ----------
        seed : int
            The same seed draws the same weights; torch's global generator is left as found.

        Returns
        -------
        torch.nn.Module
            Untrained.

        Examples
        --------
        >>> first, second = recipe("mnist").build(seed=0), recipe("mnist").build(seed=0)
        >>> torch.equal(first.head.weight, second.head.weight)
        True
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.net()


# The default of a fine-tune, chosen on a CNN of 20 and 50 channels that three plain epochs on decoy Fashion-MNIST had
# fooled; see benchmarks/rationales/short.py.
FINE_TUNE = TrainingSettings(
    steps=120,
    batch_size=256,
    lr=6e-3,
    beta2=0.95,
    warmup=10,
    decay="cosine",
    counterexamples=Swap(lend=0.5),
    loss=RightReasons(weight=0.02),
    penalty_from=0.5,
    freeze_statistics=True,
)

# For the demo: a short memory of squared gradients, a short warm-up and a fall to zero; swapped regions, and from
# half way a penalty small enough to leave accuracy alone.
_TUNED = TrainingSettings(
    steps=300,
    batch_size=128,
    lr=12e-3,
    beta2=0.95,
    weight_decay=0.1,
    warmup=10,
    decay="cosine",
    counterexamples=Swap(lend=0.5),
    loss=RightReasons(weight=0.02),
    penalty_from=0.5,
    freeze_statistics=True,
)

RECIPES = {
    settings.data: settings
    for settings in (
        DemoSettings(
            data="digits",
            net=partial(SmallConv, channels=(16, 32), hidden=64),
            plain=TrainingSettings(steps=400, batch_size=128, lr=3e-3),
            fine_tune=_TUNED,
            held_out=0.1,
        ),
        DemoSettings(
            data="mnist",
            net=Mlp,
            plain=TrainingSettings(steps=900, batch_size=256, lr=3e-3),
            fine_tune=replace(_TUNED, steps=2000, batch_size=256, lr=6e-3, weight_decay=0.0),
            held_out=1 / 30,
        ),
        DemoSettings(
            data="fashion-mnist",
            net=Mlp,
            plain=TrainingSettings(steps=900, batch_size=256, lr=3e-3),
            fine_tune=replace(_TUNED, steps=2000, batch_size=256, lr=6e-3, weight_decay=0.0),
            held_out=1 / 30,
        ),
    )
}


def recipe(data: str) -> DemoSettings:
    """Find the recipe for one of the demo's data.

    Parameters
    ----------
    data : str
        A key of `RECIPES`.

    Returns
    -------
    DemoSettings
        The recipe.

    Raises
    ------
    RunError
        If there is none of that name.

    Examples
    --------
    >>> recipe("digits").plain.steps
    400
    """
    if data not in RECIPES:
        near = get_close_matches(data, RECIPES, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else "."
        raise RunError(f"No recipe for {data!r}{guess} There are: {', '.join(RECIPES)}.")
    return RECIPES[data]
