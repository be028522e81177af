"""Look at a model's data and reasons, say what must not matter, relaunch, and compare."""

from .classifier import Classifier
from .panel import DataPanel

__all__ = ["Classifier", "DataPanel"]
