"""Errors of this package.

WorkbenchError
├── ClassifierError (ValueError)        a classifier that does not fit its module or its classes
│   └── LayerError  (KeyError)          no such layer, or one that cannot be kept
├── PanelError      (ValueError)        a panel asked for something it cannot be
│   └── NoColumnError (KeyError)        no such column; offers the nearest name
├── DataError       (ValueError)        data files that are missing, broken, or do not fit each other
│   └── RunFileError                    files of a run or a classifier, likewise
├── UntrustedError  (ValueError)        a file names code that nobody said may be run
├── FeedbackError   (ValueError)        feedback that cannot be written, read or merged
│   └── FeedbackBusyError (TimeoutError) somebody else has been writing to the log for too long
├── LoopError       (ValueError)        a loop asked, answered or continued in a way that it cannot be
└── RunError        (RuntimeError)      training that cannot start or go on
    ├── NotHereError  (KeyError)        a model or run that a workbench does not have
    ├── OverlapError                    rows to train on are among those to judge by
    └── DivergedError                   the loss is no longer a number; in record.py, with what was trained
"""

__all__ = [
    "ClassifierError",
    "DataError",
    "FeedbackBusyError",
    "FeedbackError",
    "LayerError",
    "LoopError",
    "NoColumnError",
    "NotHereError",
    "OverlapError",
    "PanelError",
    "RunError",
    "RunFileError",
    "UntrustedError",
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


class RunFileError(DataError):
    """Files of a run or a classifier that are missing, broken, or do not fit each other."""


class UntrustedError(WorkbenchError, ValueError):
    """A file names code that nobody said may be run."""


class FeedbackError(WorkbenchError, ValueError):
    """Feedback that cannot be written, read or merged."""


class FeedbackBusyError(FeedbackError, TimeoutError):
    """Somebody else has been writing to the log for longer than one was ready to wait."""


class LoopError(WorkbenchError, ValueError):
    """A loop asked, answered or continued in a way that it cannot be."""


class RunError(WorkbenchError, RuntimeError):
    """Training that cannot start or go on."""


class NotHereError(RunError, KeyError):
    """A model or run that a workbench does not have."""

    # KeyError prints the repr of its message, quotes and all.
    __str__ = Exception.__str__


class OverlapError(RunError):
    """Rows to train on are among those that the training is to be judged by."""
