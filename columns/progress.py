"""A progress bar, in the notebook or the terminal."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["progress_bar"]


def progress_bar(total: int) -> Callable[[int], None]:
    """Show a bar over `total` rows; the function returned is told how many more are done."""
    from tqdm.auto import tqdm

    bar = tqdm(total=total, unit="row", leave=False, dynamic_ncols=True)

    def advance(rows: int) -> None:
        bar.update(rows)
        if bar.n >= total:
            bar.close()

    return advance
