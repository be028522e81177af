"""Warnings that one thread tells in another way: not shown there, and left to all other threads as they are."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..record import InterruptedTrainingWarning, UnchangedModelWarning, UnguardedWarning

__all__ = ["told_otherwise"]

_TOLD = (InterruptedTrainingWarning, UnchangedModelWarning, UnguardedWarning)
_here = threading.local()


class _InThisThread(type):
    """A class whose subclasses are warnings of a training, but only in a thread that tells them otherwise."""

    def __subclasscheck__(cls, category: type) -> bool:
        return cls is category or (getattr(_here, "told", False) and issubclass(category, _TOLD))


class _ToldOtherwise(Warning, metaclass=_InThisThread):
    """What the filter below matches, and nothing is ever warned of."""


@contextmanager
def told_otherwise() -> Iterator[None]:
    """Do not show, nor raise, what a training warns of in this thread: its view tells it.

    `warnings.catch_warnings` would change the filters of all threads for as long as the training takes, and put them
    back over what the user has set meanwhile. Here one filter is added, once, which matches nothing outside of this.

    Examples
    --------
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error")
    ...     with told_otherwise():
    ...         warnings.warn("Nothing helped.", UnchangedModelWarning)
    ...     try:
    ...         warnings.warn("Nothing helped.", UnchangedModelWarning)
    ...     except UnchangedModelWarning as error:
    ...         print(error)
    Nothing helped.
    """
    if not any(entry[2] is _ToldOtherwise for entry in warnings.filters[:1]):
        warnings.simplefilter("ignore", _ToldOtherwise)
    _here.told = True
    try:
        yield
    finally:
        _here.told = False
