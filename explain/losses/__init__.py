"""Rationale losses: what a person said, as a penalty to train with."""

from .contract import RationaleLoss, Weight, WeightedSum
from .input_gradients import RightReasons
from .reduce import balanced, mean_over_annotated, mean_penalty

__all__ = [
    "RationaleLoss",
    "RightReasons",
    "Weight",
    "WeightedSum",
    "balanced",
    "mean_over_annotated",
    "mean_penalty",
]
