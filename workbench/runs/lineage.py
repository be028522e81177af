"""Which run a model came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..classifier import Classifier

if TYPE_CHECKING:
    from .run import Run

__all__ = ["Maker", "parent_of", "remember"]


@dataclass(frozen=True)
class Maker:
    """The run that made a classifier: its id, and the digest of the weights then."""

    run: str
    weights: str


_makers: WeakKeyDictionary[Classifier, Maker] = WeakKeyDictionary()


def remember(model: Classifier, maker: Maker) -> None:
    """Remember which run made a classifier."""
    _makers[model] = maker


def parent_of(model: Classifier, weights: str, told: Run | str | None = None) -> dict[str, Any] | None:
    """Return the run that a classifier came from.

    Parameters
    ----------
    model : Classifier
        Where a new run starts.
    weights : str
        Digest of its weights now.
    told : Run or str, optional
        Which run, if somebody says so.

    Returns
    -------
    dict or None
        "run", its id, and "same": whether the weights are still those that it made; None if nobody knows.
    """
    if isinstance(told, str):
        return {"run": told, "same": None}
    if told is not None:
        return {"run": told.id, "same": told.record.after == weights}
    maker = _makers.get(model)
    return None if maker is None else {"run": maker.run, "same": maker.weights == weights}
