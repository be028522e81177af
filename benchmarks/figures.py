"""Figures: what one row of the table holds, and the registry of the cells that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["CELLS", "FULL", "TINY", "Cell", "Figure", "Scale", "cell"]


@dataclass(frozen=True)
class Figure:
    """One measured row.

    Attributes
    ----------
    work : str
        What is done.
    ours, against : float
        Best of the repeats, in `unit`; `against` is None where the target is absolute.
    rival : str
        What `against` is, and how it was chosen.
    unit : str
        ``"s"``, ``"ms"``, ``"µs"`` or ``"MB"``.
    target : float or None
        What must not be exceeded: by the ratio where there is a rival, else by `ours`. None: shown, not judged.
    median_ratio : float or None
        Median over the rounds of ours / rival, beside the ratio of the best.
    floor : float or None
        What the unavoidable part costs, in `unit`.
    floor_words : str
        What that part is.
    note : str
        What a reader must know to judge the row.
    """

    work: str
    ours: float
    unit: str
    target: float | None
    against: float | None = None
    rival: str = ""
    median_ratio: float | None = None
    floor: float | None = None
    floor_words: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours divided by the rival's."""
        return None if not self.against else self.ours / self.against

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        judged = self.ours if self.ratio is None else self.ratio
        return None if self.target is None else judged <= self.target

    @property
    def to_floor(self) -> float | None:
        """Ours divided by the floor."""
        return None if not self.floor else self.ours / self.floor

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, and what follows from them: ``ratio``, ``met``, ``to_floor``."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met, "to_floor": self.to_floor}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Figure:
        """Return the figure that `as_dict` wrote."""
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Scale:
    """How much work: the table's own sizes, or tiny ones that only show that the code runs."""

    name: str
    images: int
    many_images: int  # for the memory of the image map
    side: int  # of the small pictures; the large ones have twice that
    rows: int
    distinct: int  # different strings
    keys: int  # of the finer grouping
    embeddings: int
    queries: int
    repeats: int
    children: int  # fresh processes per figure
    workers: tuple[int, ...]  # of a DataLoader, from which the best is chosen


FULL = Scale("full", 2_000, 20_000, 256, 1_000_000, 10_000, 10_000, 100_000, 1_000, 7, 7, (0, 1, 2))
TINY = Scale("tiny", 24, 48, 32, 400, 20, 20, 200, 5, 1, 1, (0, 1))


@dataclass(frozen=True)
class Cell:
    """A piece of the table that is measured, recorded and resumed as one."""

    name: str
    run: Callable[[Scale], Iterable[Figure]]


CELLS: dict[str, Cell] = {}


def cell(name: str) -> Callable[[Callable[[Scale], Iterable[Figure]]], Callable[[Scale], Iterable[Figure]]]:
    """Register a function as the cell `name`; a decorator."""

    def register(run: Callable[[Scale], Iterable[Figure]]) -> Callable[[Scale], Iterable[Figure]]:
        CELLS[name] = Cell(name, run)
        return run

    return register
