"""Measures of explanations and of the models behind them."""

from .accuracy import worst_class_accuracy
from .regions import mass_on_mask
from .swaps import swap_sensitivity

__all__ = ["mass_on_mask", "swap_sensitivity", "worst_class_accuracy"]
