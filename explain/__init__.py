"""Attributions and rationale losses: torch modules and tensors in, scores and penalties out.

Explain a batch with `attribute`, by any of `METHODS`; say what must not matter, or should, with a
`Rationale`; train with a rationale loss (`RightReasons`, `RightReasonsGradCam` ...) beside the task loss,
or with counterexamples (`Swap`, `Grey` ...); judge with measures (`mass_on_mask`, `swap_sensitivity` ...);
find groups of like explanations with `spectral_clusters`.

The families, each with everything it has: `explain.methods`, `explain.losses`,
`explain.counterexamples`, `explain.measures`, `explain.clusters`, `explain.concepts` with
`explain.projection`, `explain.procedures`, and `explain.testing` for losses of your own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .attribution import Attribution
from .batch import Batch, Forward, Logits, Rationale
from .counterexamples import Added, Blur, Constant, Counterexample, Grey, Mean, Noise, OtherClass, Swap, grey, swap
from .errors import (
    ExplainError,
    GraphError,
    KindError,
    LayerError,
    MethodError,
    SettingError,
    ShapeError,
    TargetError,
    UnbalancedWarning,
)
from .layers import held_still, module_of, with_layers
from .losses import (
    RationaleLoss,
    RightReasons,
    WeightedSum,
    balanced,
    mean_over_annotated,
    mean_penalty,
    shared_pass,
)
from .masks import expand_mask, mask_on_layer, resize_mask
from .measures import deletion, insertion, mass_on_mask, swap_sensitivity, worst_class_accuracy, wrong_reason
from .methods import METHODS, attribute, input_gradient
from .target import Target, target_name, target_values

if TYPE_CHECKING:
    from .clusters import Clusters, spectral_clusters
    from .concepts import Concept, concept_direction
    from .losses import (
        AdversarialRobust,
        AttributionL1,
        AverageRobust,
        ContextualDecomposition,
        Energy,
        ExpectedGradientPrior,
        ExplanationRegularization,
        Hint,
        IntervalRobust,
        PixelPositiveCrossEntropy,
        RightForBetterReasons,
        RightReasonsConcept,
        RightReasonsGradCam,
        RobustRightReasons,
        SampledRightReasons,
        TargetedActivationPenalty,
    )
    from .procedures import find_another_explanation, masktune_inputs
    from .projection import project_out

__all__ = [
    "METHODS",
    "Added",
    "AdversarialRobust",
    "Attribution",
    "AttributionL1",
    "AverageRobust",
    "Batch",
    "Blur",
    "Clusters",
    "Concept",
    "Constant",
    "ContextualDecomposition",
    "Counterexample",
    "Energy",
    "ExpectedGradientPrior",
    "ExplainError",
    "ExplanationRegularization",
    "Forward",
    "GraphError",
    "Grey",
    "Hint",
    "IntervalRobust",
    "KindError",
    "LayerError",
    "Logits",
    "Mean",
    "MethodError",
    "Noise",
    "OtherClass",
    "PixelPositiveCrossEntropy",
    "Rationale",
    "RationaleLoss",
    "RightForBetterReasons",
    "RightReasons",
    "RightReasonsConcept",
    "RightReasonsGradCam",
    "RobustRightReasons",
    "SampledRightReasons",
    "SettingError",
    "ShapeError",
    "Swap",
    "Target",
    "TargetError",
    "TargetedActivationPenalty",
    "UnbalancedWarning",
    "WeightedSum",
    "attribute",
    "balanced",
    "concept_direction",
    "deletion",
    "expand_mask",
    "find_another_explanation",
    "grey",
    "held_still",
    "input_gradient",
    "insertion",
    "mask_on_layer",
    "masktune_inputs",
    "mass_on_mask",
    "mean_over_annotated",
    "mean_penalty",
    "module_of",
    "project_out",
    "resize_mask",
    "shared_pass",
    "spectral_clusters",
    "swap",
    "swap_sensitivity",
    "target_name",
    "target_values",
    "with_layers",
    "worst_class_accuracy",
    "wrong_reason",
]

# Read when first asked for, to keep the import light; the other losses are found by their own package.
_FILES = {
    "Clusters": "clusters",
    "Concept": "concepts",
    "concept_direction": "concepts",
    "find_another_explanation": "procedures",
    "masktune_inputs": "procedures",
    "project_out": "projection",
    "spectral_clusters": "clusters",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f".{_FILES.get(name, 'losses')}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
