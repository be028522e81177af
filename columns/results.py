"""Results that survive the process: kept in a directory, found again by content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["keep_results", "results_directory", "results_kept"]

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


def results_kept() -> bool:
    """Say whether results are kept in a directory at the moment."""
    return _directory is not None


def results_directory(content: str | None) -> Path | None:
    """Return where the results of a map of that digest survive the process, or None if they do not."""
    if _directory is None or content is None:
        return None
    return _directory / content[:2] / content
