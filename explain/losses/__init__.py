"""Rationale losses: what a person said, as a penalty to train with."""

from .activation_maps import Hint, RightReasonsGradCam, TargetedActivationPenalty
from .concepts import RightReasonsConcept
from .contextual import ContextualDecomposition
from .contract import RationaleLoss, Weight, WeightedSum
from .expected import ExpectedGradientPrior
from .guidance import AttributionL1, Energy, PixelPositiveCrossEntropy
from .influence import RightForBetterReasons
from .input_gradients import RightReasons
from .reduce import balanced, mean_over_annotated, mean_penalty
from .robust import AdversarialRobust, AverageRobust, IntervalRobust
from .robust_gradients import RobustRightReasons, SampledRightReasons
from .sharing import shared_pass
from .tokens import ExplanationRegularization

__all__ = [
    "AdversarialRobust",
    "AttributionL1",
    "AverageRobust",
    "ContextualDecomposition",
    "Energy",
    "ExpectedGradientPrior",
    "ExplanationRegularization",
    "Hint",
    "IntervalRobust",
    "PixelPositiveCrossEntropy",
    "RationaleLoss",
    "RightForBetterReasons",
    "RightReasons",
    "RightReasonsConcept",
    "RightReasonsGradCam",
    "RobustRightReasons",
    "SampledRightReasons",
    "TargetedActivationPenalty",
    "Weight",
    "WeightedSum",
    "balanced",
    "mean_over_annotated",
    "mean_penalty",
    "shared_pass",
]
