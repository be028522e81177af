"""Rationale losses: what a person said, as a penalty to train with."""

from .activation_maps import Hint, RightReasonsGradCam, TargetedActivationPenalty
from .contextual import ContextualDecomposition
from .contract import RationaleLoss, Weight, WeightedSum
from .expected import ExpectedGradientPrior
from .influence import RightForBetterReasons
from .input_gradients import RightReasons
from .reduce import balanced, mean_over_annotated, mean_penalty

__all__ = [
    "ContextualDecomposition",
    "ExpectedGradientPrior",
    "Hint",
    "RationaleLoss",
    "RightForBetterReasons",
    "RightReasons",
    "RightReasonsGradCam",
    "TargetedActivationPenalty",
    "Weight",
    "WeightedSum",
    "balanced",
    "mean_over_annotated",
    "mean_penalty",
]
