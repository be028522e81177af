"""Errors of this package.

WorkbenchError
├── ClassifierError (ValueError)        a classifier that does not fit its module or its classes
│   └── LayerError  (KeyError)          no such layer, or one that cannot be kept
├── PanelError      (ValueError)        a panel asked for something it cannot be
│   └── NoColumnError (KeyError)        no such column; offers the nearest name
├── DataError       (ValueError)        data files that are missing, broken, or do not fit each other
└── RunError        (RuntimeError)      training that cannot start or go on
    └── DivergedError                   the loss is no longer a number; in record.py, with what was trained
"""

__all__ = [
    "ClassifierError",
    "DataError",
    "LayerError",
    "NoColumnError",
    "PanelError",
    "RunError",
    "WorkbenchError",
]


class WorkbenchError(Exception):
    """Base of every error that this package raises on purpose."""


class ClassifierError(WorkbenchError, ValueError):
    """A classifier whose parts do not fit each other."""


class LayerError(ClassifierError, KeyError):
    """A layer that does not exist, or whose output cannot be kept."""

    # KeyError prints the repr of its message, quotes and all.
    __str__ = Exception.__str__


class PanelError(WorkbenchError, ValueError):
    """A panel asked for something it cannot be."""


class NoColumnError(PanelError, KeyError):
    """A column that does not exist."""

    # KeyError prints the repr of its message, quotes and all.
    __str__ = Exception.__str__


class DataError(WorkbenchError, ValueError):
    """Data files that are missing, broken, or do not fit each other."""


class RunError(WorkbenchError, RuntimeError):
    """Training that cannot start or go on."""
