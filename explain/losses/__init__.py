"""Rationale losses: what a person said, as a penalty to train with."""

from .contract import RationaleLoss
from .input_gradients import RightReasons
from .reduce import mean_over_annotated

__all__ = ["RationaleLoss", "RightReasons", "mean_over_annotated"]
