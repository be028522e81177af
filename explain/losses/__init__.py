"""Rationale losses: what a person said, as a penalty to train with.

=============================  ==============  ============================================================
loss                           reads           keeps the model from
=============================  ==============  ============================================================
`RightReasons`                 irrelevant      a gradient at the inputs, or a layer, inside the mark ("RRR")
`RightReasonsGradCam`          irrelevant      Grad-CAM inside the mark ("RRR-G")
`TargetedActivationPenalty`    irrelevant      activation inside the mark ("TAP")
`RightForBetterReasons`        irrelevant      weights that owe something to the mark ("RBR")
`ContextualDecomposition`      irrelevant      logits that the mark contributes to ("CDEP")
`ExpectedGradientPrior`        irrelevant      expected gradients inside the mark
`AverageRobust`                irrelevant      errors under noise in the mark ("Avg-Ex")
`AdversarialRobust`            irrelevant      errors under the worst change of the mark found ("PGD-Ex")
`IntervalRobust`               irrelevant      errors under any change of the mark, by proof ("IBP-Ex")
`RobustRightReasons`           irrelevant      gradients inside the mark under any change of it ("R4")
`SampledRightReasons`          irrelevant      the same over samples ("Rand-R4")
`RightReasonsConcept`          irrelevant [1]  an answer to the direction of an artefact ("RR-ClArC")
`Energy`                       relevant [2]    positive attribution outside of what should matter
`Hint`                         relevant        a Grad-CAM that disagrees with the mark
`AttributionL1`                relevant        an attribution that disagrees with the mark
`PixelPositiveCrossEntropy`    relevant        too little attribution inside the mark ("PPCE")
`ExplanationRegularization`    relevant        token attributions that disagree with the marked spans ("ER")
=============================  ==============  ============================================================

[1] The mark only says which rows carry the artefact.
[2] Or irrelevant, with ``of="irrelevant"``: positive attribution inside the mark.

Each says more in its docstring, and in `needs`, `passes` (its cost) and `source`. They add up: a weighted sum
is a loss. Which of them to take: ``benchmarks/rationales``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .contract import RationaleLoss, Weight, WeightedSum
from .input_gradients import RightReasons
from .reduce import balanced, mean_over_annotated, mean_penalty
from .sharing import ask, shared_pass

if TYPE_CHECKING:
    from .activation_maps import Hint, RightReasonsGradCam, TargetedActivationPenalty
    from .concepts import RightReasonsConcept
    from .contextual import ContextualDecomposition
    from .expected import ExpectedGradientPrior
    from .guidance import AttributionL1, Energy, PixelPositiveCrossEntropy
    from .influence import RightForBetterReasons
    from .robust import AdversarialRobust, AverageRobust, IntervalRobust
    from .robust_gradients import RobustRightReasons, SampledRightReasons
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
    "ask",
    "balanced",
    "mean_over_annotated",
    "mean_penalty",
    "shared_pass",
]

# Read when first asked for: a training takes one of these files, and `import workbench` none.
_FILES = {
    "AdversarialRobust": "robust",
    "AttributionL1": "guidance",
    "AverageRobust": "robust",
    "ContextualDecomposition": "contextual",
    "Energy": "guidance",
    "ExpectedGradientPrior": "expected",
    "ExplanationRegularization": "tokens",
    "Hint": "activation_maps",
    "IntervalRobust": "robust",
    "PixelPositiveCrossEntropy": "guidance",
    "RightForBetterReasons": "influence",
    "RightReasonsConcept": "concepts",
    "RightReasonsGradCam": "activation_maps",
    "RobustRightReasons": "robust_gradients",
    "SampledRightReasons": "robust_gradients",
    "TargetedActivationPenalty": "activation_maps",
}


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f".{_FILES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
