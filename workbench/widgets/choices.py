"""What a page may choose of a fine-tune: by names from tables, and numbers in ranges; never a setting as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from explain import Grey, RightReasons
from explain.counterexamples import DropTokens
from explain.losses import Weight

from ..errors import RunError
from ..recipes import FINE_TUNE
from ..word_swap import SwapTokens

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..record import TrainingSettings

__all__ = ["LOSSES", "WORDS", "Choice", "losses_of", "weights_here"]

LONGEST, MOST_STEPS = 60.0, 100_000
WEIGHTS = ("all", "head", "last:2", "lora")


def _energy() -> dict[str, Any]:
    from explain.losses import Energy

    return {"counterexamples": None, "penalty_from": 0.0, "loss": Energy(of="relevant")}


# What each changes in the default recipe of `finetune`; see benchmarks/rationales/short.py for what they come to.
LOSSES: dict[str, Callable[[], dict[str, Any]]] = {
    "swap, then right reasons": dict,
    "swap": lambda: {"loss": None},
    "grey, then right reasons": lambda: {"counterexamples": Grey()},
    "grey": lambda: {"counterexamples": Grey(), "loss": None},
    "right reasons, random signs": lambda: {
        "counterexamples": None,
        "penalty_from": 0.0,
        "loss": RightReasons(0.1, target="random_sign_logits"),
    },
    "right reasons": lambda: {"counterexamples": None, "penalty_from": 0.0, "loss": RightReasons(0.02), "lr": 8e-3},
    "energy of what is relevant": _energy,
}

# Of texts: tokens have no gradient, and no place that the token of another row would fit in.
WORDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "swap words": lambda padding: {"counterexamples": SwapTokens(padding), "loss": None},
    "drop words": lambda padding: {"counterexamples": DropTokens(padding), "loss": None},
}


def losses_of(model: Classifier) -> tuple[str, ...]:
    """Return the names of the losses that a classifier can be fine-tuned by, the default first."""
    return tuple(LOSSES if model.offsets is None else WORDS)


def weights_here() -> tuple[str, ...]:
    """Return which weights may be trained: low-rank additions only where their library is installed."""
    return WEIGHTS if find_spec("peft") is not None else WEIGHTS[:-1]


@dataclass(frozen=True)
class Choice:
    """A fine-tune as it is chosen in a view.

    Attributes
    ----------
    loss : str
        Name from `losses_of`.
    weights : {"all", "head", "last:2", "lora"}
        What is trained.
    minutes : float or None
        How long, at most 60.
    steps : int or None
        How many, in place of minutes; where neither is said, as many as the recipe has.
    weight : float, "auto" or None
        Of the penalty; None for that of the recipe.

    Raises
    ------
    RunError
        If a choice is not among those that there are.

    Examples
    --------
    >>> from torch import nn
    >>> from workbench import Classifier
    >>> model = Classifier(nn.Linear(2, 2), classes=("no", "yes"))
    >>> settings = Choice("right reasons", weights="head", steps=40, weight=0.5).settings(model)
    >>> settings.steps, settings.weights, settings.counterexamples, settings.loss.weight
    (40, 'head', None, 0.5)
    """

    loss: str
    weights: str = "all"
    minutes: float | None = None
    steps: int | None = None
    weight: Weight | None = None

    def __post_init__(self) -> None:
        if self.weights not in weights_here():
            raise RunError(f"`weights` must be one of {', '.join(weights_here())}; got {self.weights!r}.")
        if self.minutes is not None and self.steps is not None:
            raise RunError("A training is as long as minutes or steps say; got both.")
        if self.minutes is not None and not (_number(self.minutes) and 0 < self.minutes <= LONGEST):
            raise RunError(f"`minutes` must be above 0 and at most {LONGEST:g}; got {self.minutes!r}.")
        whole = isinstance(self.steps, int) and not isinstance(self.steps, bool)
        if self.steps is not None and not (whole and 1 <= self.steps <= MOST_STEPS):
            raise RunError(f"`steps` must be a whole number in [1, {MOST_STEPS:,}]; got {self.steps!r}.")
        if self.weight not in (None, "auto") and not (_number(self.weight) and float(self.weight or 0) > 0):
            raise RunError(f"`weight` must be a positive number or 'auto'; got {self.weight!r}.")

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Choice:
        """Return the choice that a message of the page makes."""
        known = ("loss", "weights", "minutes", "steps", "weight")
        unknown = sorted(set(fields) - set(known))
        if unknown or "loss" not in fields:
            raise RunError(f"A training is chosen by {', '.join(known)}, `loss` at least; got {sorted(fields)}.")
        return cls(**fields)

    def settings(self, model: Classifier) -> TrainingSettings:
        """Return the settings of `finetune` that this comes to; where minutes are chosen, not yet how many steps.

        Parameters
        ----------
        model : Classifier
            That is to be trained.

        Returns
        -------
        TrainingSettings

        Raises
        ------
        RunError
            If there is no such loss for this classifier, or a weight for a loss that has none.
        """
        names = losses_of(model)
        if self.loss not in names:
            raise RunError(f"`loss` must be one of {'; '.join(names)}; got {self.loss!r}.")
        changes = LOSSES[self.loss]() if model.offsets is None else WORDS[self.loss](model.padding)
        settings = replace(FINE_TUNE, weights=self.weights, **changes)
        if self.steps is not None:
            settings = replace(settings, steps=self.steps)
        if self.weight is None:
            return settings
        if settings.loss is None:
            raise RunError(f"'{self.loss}' has counterexamples and no penalty, so that there is nothing to weigh.")
        return replace(settings, loss=replace(settings.loss, weight=self.weight))


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
