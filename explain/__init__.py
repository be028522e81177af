"""Attributions and rationale losses: torch modules and tensors in, scores and penalties out.

Explain a batch with `attribute`, measure with `mass_on_mask` and `swap_sensitivity`, say what must
not matter with a `Rationale`, and train with a loss (`RightReasons`) or counterexamples (`Swap`).
"""

from .attribution import Attribution
from .batch import Batch, Forward, Logits, Rationale
from .counterexamples import Counterexample, Grey, Swap, grey, swap
from .errors import (
    ExplainError,
    GraphError,
    KindError,
    LayerError,
    MethodError,
    SettingError,
    ShapeError,
    TargetError,
)
from .layers import held_still, module_of, with_layers
from .losses import RationaleLoss, RightReasons, WeightedSum, balanced, mean_over_annotated, mean_penalty, shared_pass
from .masks import expand_mask, mask_on_layer, resize_mask
from .measures import mass_on_mask, swap_sensitivity, worst_class_accuracy
from .methods import METHODS, attribute, input_gradient
from .target import Target, target_name, target_values

__all__ = [
    "METHODS",
    "Attribution",
    "Batch",
    "Counterexample",
    "ExplainError",
    "Forward",
    "GraphError",
    "Grey",
    "KindError",
    "LayerError",
    "Logits",
    "MethodError",
    "Rationale",
    "RationaleLoss",
    "RightReasons",
    "SettingError",
    "ShapeError",
    "Swap",
    "Target",
    "TargetError",
    "WeightedSum",
    "attribute",
    "balanced",
    "expand_mask",
    "grey",
    "held_still",
    "input_gradient",
    "mask_on_layer",
    "mass_on_mask",
    "mean_over_annotated",
    "mean_penalty",
    "module_of",
    "resize_mask",
    "shared_pass",
    "swap",
    "swap_sensitivity",
    "target_name",
    "target_values",
    "with_layers",
    "worst_class_accuracy",
]
