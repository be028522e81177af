"""Region: the contract of what a person marked in one row, and how regions are combined."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

from ..errors import FeedbackError
from .checks import cut
from .intervals import Intervals, covered, length, outside

__all__ = ["Region", "combined"]

_KINDS: dict[str, type[Region]] = {}


class Region(ABC):
    """What a person marked in one row; ``|``, ``&`` and ``-`` combine regions of one extent.

    Attributes
    ----------
    kind : str
        ``"image"``, ``"text"`` or ``"features"``.
    size : int
        How many pixels, characters or features are marked.
    empty : bool
        Whether nothing is: a person may say so, too.
    """

    kind: ClassVar[str]
    _fields: ClassVar[set[str]]

    def __init_subclass__(cls) -> None:
        _KINDS[cls.kind] = cls

    @cached_property
    def size(self) -> int:
        """How many pixels, characters or features are marked."""
        return length(self.intervals)

    @property
    def empty(self) -> bool:
        """Whether nothing is marked."""
        return self.size == 0

    @property
    @abstractmethod
    def intervals(self) -> Intervals:
        """The marked places in the order in which the kind counts them, shape (intervals, 2), int64."""

    @property
    @abstractmethod
    def extent(self) -> str:
        """How large the whole is of which this is a part, in words."""

    @abstractmethod
    def same_extent(self, other: Region) -> bool:
        """Say whether the two are parts of wholes of one size."""

    @abstractmethod
    def _with(self, places: Intervals, others: Sequence[Region]) -> Self:
        """Return other places of the same whole."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the region as JSON can hold it."""

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Region:
        """Return the region that `to_dict` wrote.

        Raises
        ------
        FeedbackError
            If it is none.
        """
        kind = fields.get("kind") if isinstance(fields, Mapping) else None
        cls = _KINDS.get(kind) if isinstance(kind, str) else None
        if cls is None:
            raise FeedbackError(f"A region must be an object whose 'kind' is one of {list(_KINDS)}; got {cut(fields)}.")
        wanted, given = cls._fields, set(fields) - {"kind"}
        if given != wanted:
            raise FeedbackError(f"A region of kind '{kind}' must have {sorted(wanted)}; got {sorted(given)}.")
        return cls(**{name: fields[name] for name in wanted})

    def __or__(self, other: Region) -> Self:
        return combined([self, other], 1)  # type: ignore[return-value]

    def __and__(self, other: Region) -> Self:
        return combined([self, other], 2)  # type: ignore[return-value]

    def __sub__(self, other: Region) -> Self:
        _check_extents([self, other])
        end = max(int(r.intervals[-1, 1]) if len(r.intervals) else 0 for r in (self, other))
        return self._with(covered([self.intervals, outside(other.intervals, end)], 2), [other])


def combined(regions: Sequence[Region], at_least: int) -> Region:
    """Return what is marked in at least so many of several regions of one extent.

    Parameters
    ----------
    regions : sequence of Region
        At least one.
    at_least : int
        1 for the union, ``len(regions)`` for the intersection.

    Raises
    ------
    FeedbackError
        If they are of several kinds, or parts of wholes of several sizes; names both sizes.

    Examples
    --------
    >>> from workbench.feedback import ImageRegion
    >>> boxes = [ImageRegion.box(0, left, 2, 2, size=(4, 4)) for left in (0, 1, 1)]
    >>> combined(boxes, 2) == boxes[1]
    True
    """
    _check_extents(regions)
    return regions[0]._with(covered([r.intervals for r in regions], at_least), regions[1:])


def _check_extents(regions: Sequence[Region]) -> None:
    for other in regions[1:]:
        if not isinstance(other, Region):
            raise FeedbackError(f"A region is combined with a region; got {type(other).__name__}.")
        if not regions[0].same_extent(other):
            raise FeedbackError(
                f"Regions must be parts of wholes of one kind and size; got one of {regions[0].extent} and one of "
                f"{other.extent}."
            )
