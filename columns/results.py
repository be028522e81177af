"""Results that survive the process: kept in a directory, found again by content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .expression import Map, digest

__all__ = ["keep_results", "results_directory"]

_directory: Path | None = None


@contextmanager
def keep_results(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Keep the results of costly expressions in `directory` while the block runs.

    They are found again, in this process or another, by content: data, function and weights. A function
    without a full digest (a lambda, a function of a notebook) takes part only with a declared ``version=``;
    results that are not arrays of numbers of one shape stay in the process.

    Parameters
    ----------
    directory : str or Path
        Made if it is not there.

    Yields
    ------
    Path
        The directory.
    """
    global _directory
    before = _directory
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    _directory = path
    try:
        yield path
    finally:
        _directory = before


def results_directory(node: Map) -> Path | None:
    """Return where the results of a map survive the process, or None if they do not."""
    if _directory is None:
        return None
    content = digest(node)
    return None if content is None else _directory / content[:2] / content
