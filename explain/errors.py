"""Errors of this package.

ExplainError
├── ShapeError    (ValueError)    tensors whose shapes do not fit each other
├── KindError     (TypeError)     a tensor of the wrong dtype: a mask that is not boolean, integer inputs
├── TargetError   (ValueError)    no such target, or it cannot be taken from these logits
├── MethodError   (ValueError)    no such attribution method
├── SettingError  (ValueError)    a loss or a measure was given a setting that it does not have
└── GraphError    (RuntimeError)  the logits do not depend on the inputs through autograd
"""

__all__ = [
    "ExplainError",
    "GraphError",
    "KindError",
    "MethodError",
    "SettingError",
    "ShapeError",
    "TargetError",
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


class SettingError(ExplainError, ValueError):
    """A setting outside of what a loss or a measure offers."""


class GraphError(ExplainError, RuntimeError):
    """Autograd cannot reach the inputs from the logits."""
