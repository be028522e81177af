"""Errors of this package.

ExplainError
├── ShapeError    (ValueError)    tensors whose shapes do not fit each other
├── KindError     (TypeError)     a tensor of the wrong dtype: a mask that is not boolean, integer inputs
├── TargetError   (ValueError)    no such target, or it cannot be taken from these logits
├── MethodError   (ValueError)    no such attribution method
├── LayerError    (KeyError)      no such layer, or one that cannot be kept or has no rule
├── SettingError  (ValueError)    a loss or a measure was given a setting that it does not have
└── GraphError    (RuntimeError)  the logits do not depend on the inputs through autograd

Warnings: UnbalancedWarning (UserWarning), where a weight "auto" was settled against a model that is no measure.
"""

__all__ = [
    "ExplainError",
    "GraphError",
    "KindError",
    "LayerError",
    "MethodError",
    "SettingError",
    "ShapeError",
    "TargetError",
    "UnbalancedWarning",
]


class ExplainError(Exception):
    """Base of every error that this package raises on purpose."""


class ShapeError(ExplainError, ValueError):
    """Tensors whose shapes do not fit each other."""


class KindError(ExplainError, TypeError):
    """A tensor of the wrong dtype."""


class TargetError(ExplainError, ValueError):
    """The scalar to explain does not exist for these logits."""


class MethodError(ExplainError, ValueError):
    """There is no attribution method of that name."""


class LayerError(ExplainError, KeyError):
    """A layer that does not exist, cannot be kept, or has no rule for what is asked of it."""

    # KeyError prints the repr of its message, quotes and all.
    __str__ = Exception.__str__


class SettingError(ExplainError, ValueError):
    """A setting outside of what a loss or a measure offers."""


class GraphError(ExplainError, RuntimeError):
    """Autograd cannot reach the inputs from the logits."""


class UnbalancedWarning(UserWarning):
    """A weight "auto" was settled where the task loss or the penalty says nothing about later steps."""
