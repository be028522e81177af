"""Which rows are seen at each training step, and with which learning rate."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import RunError

__all__ = ["DECAYS", "balanced_batches", "hold_out", "is_due", "learning_rate", "row_batches"]

DECAYS = ("constant", "cosine")


def row_batches(rows: NDArray[np.int64], batch_size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Deal rows in batches without end, each pass in a new random order.

    Parameters
    ----------
    rows : ndarray, shape (rows,), int64
        Row numbers; not empty.
    batch_size : int
        Rows per batch; a pass ends when fewer are left, so that all batches weigh the same. With
        fewer rows than this, each batch holds all of them.
    seed : int
        Draws the orders; the same seed draws the same.

    Yields
    ------
    ndarray, shape (batch_size,), int64
        Row numbers.

    Raises
    ------
    RunError
        If there are no rows or no batch size.

    Examples
    --------
    >>> batches = row_batches(np.arange(4), batch_size=2, seed=0)
    >>> sorted(np.concatenate([next(batches), next(batches)]).tolist())
    [0, 1, 2, 3]
    """
    if len(rows) == 0:
        raise RunError("There must be rows to train on; got none. Is the selection empty?")
    if batch_size < 1:
        raise RunError(f"`batch_size` must be at least 1; got {batch_size}.")
    random = np.random.default_rng(seed)
    size = min(batch_size, len(rows))
    while True:
        order = random.permutation(rows)
        for start in range(0, len(rows) - size + 1, size):
            yield order[start : start + size]


def balanced_batches(
    rows: NDArray[np.int64], annotated: NDArray[np.int64], batch_size: int, share: float, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Deal rows in batches without end, in each of which annotated rows have the same share.

    Both kinds of rows are dealt by `row_batches`, so that no row is in a batch twice: its refill would come
    from itself.

    Parameters
    ----------
    rows : ndarray, shape (rows,), int64
        Row numbers.
    annotated : ndarray, int64
        Those about which something was said, in any order; others than `rows` are left out.
    batch_size : int
        Rows per batch, where there are as many.
    share : float
        Of annotated rows in a batch, in (0, 1); less where fewer are there, and at least one of either kind.
    seed : int
        Draws the orders; the same seed draws the same.

    Yields
    ------
    ndarray, int64
        Row numbers, in random order; always as many.

    Raises
    ------
    RunError
        If no row is annotated, or there are no rows, or a batch is to have fewer than two.

    Examples
    --------
    >>> batches = balanced_batches(np.arange(100), np.array([7, 8]), batch_size=4, share=0.5, seed=0)
    >>> batch = next(batches)
    >>> len(batch), np.isin([7, 8], batch).tolist()
    (4, [True, True])
    """
    said = np.isin(rows, annotated)
    if not said.any():
        raise RunError("Balanced batches need rows about which something was said; there is none to train on.")
    if said.all():
        yield from row_batches(rows, batch_size, seed)
    if batch_size < 2:
        raise RunError(f"A balanced batch has rows of both kinds, at least 2 in all; got `batch_size` {batch_size}.")
    count = min(max(1, round(share * batch_size)), batch_size - 1, int(said.sum()))
    kinds = (row_batches(rows[said], count, seed), row_batches(rows[~said], batch_size - count, seed + 1))
    random = np.random.default_rng(seed)
    while True:
        # Mixed, because the parts of an accumulated batch are cut off in order.
        yield random.permutation(np.concatenate([next(kind) for kind in kinds]))


def learning_rate(step: int, steps: int, *, peak: float, warmup: int, decay: str) -> float:
    """Give the learning rate of one step.

    Parameters
    ----------
    step : int
        Number of the step, from 0.
    steps : int
        Number of steps in all.
    peak : float
        Learning rate after the warm-up.
    warmup : int
        Steps over which it rises linearly to `peak`; the first one is not zero. Never more than half of the steps,
        so that it gets there.
    decay : {"constant", "cosine"}
        After the warm-up: stay, or fall to zero at `steps` along half a cosine.

    Returns
    -------
    float
        The learning rate.

    Examples
    --------
    >>> [round(learning_rate(step, 6, peak=1.0, warmup=2, decay="cosine"), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    warmup = min(warmup, steps // 2)
    if step < warmup:
        return peak * (step + 1) / warmup
    if decay == "constant":
        return peak
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def is_due(done: int, steps: int, checks: int) -> bool:
    """Whether to look at the validation rows after a step: so many times, evenly, the last step included.

    Parameters
    ----------
    done, steps : int
        Steps done, and steps in all.
    checks : int
        How many looks there are to be; one after each step, where there are fewer steps.

    Returns
    -------
    bool

    Examples
    --------
    >>> [done for done in range(1, 11) if is_due(done, steps=10, checks=3)]
    [4, 7, 10]
    """
    return done * checks // steps > (done - 1) * checks // steps


def hold_out(
    originals: NDArray[Any], share: float, seed: int, *, annotated: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Part the rows for validation from those to train on, copies of one original together.

    Parameters
    ----------
    originals : ndarray, shape (rows,)
        Which original each row was made from, by number or name; rows that share it stay on one side.
    share : float
        Share of the originals held out, in (0, 1).
    seed : int
        Draws them; the same seed draws the same.
    annotated : ndarray of int64, optional
        Rows about which something was said. Their originals are parted by themselves, in the same share, and at least
        one of them is kept to train on.

    Returns
    -------
    kept, held : ndarray, int64
        Row numbers, in ascending order.

    Raises
    ------
    RunError
        If a side would be empty, or it is not said of each row which original it was made from.

    Examples
    --------
    >>> kept, held = hold_out(np.array([7, 7, 8, 9]), share=1 / 3, seed=1)
    >>> kept.tolist(), held.tolist()
    ([2, 3], [0, 1])
    """
    missing = sum(one is None or one != one for one in originals.tolist())
    if missing:
        raise RunError(
            f"Each row must say which original it was made from, and {missing} of {len(originals)} rows do not: fill "
            "in their own keys, say, or drop them."
        )
    different = np.unique(originals)
    count = round(share * len(different))
    if not 0 < count < len(different):
        raise RunError(
            f"Both sides of a split must have rows; a share of {share} holds out {count} of {len(different)} "
            "originals. Change `held_out`, or give rows to choose the state by: validation=panel."
        )
    order = np.random.default_rng(seed).permutation(different)
    said = np.isin(order, originals[[] if annotated is None else annotated])
    of_said = min(round(share * int(said.sum())), max(0, int(said.sum()) - 1))
    held = np.isin(originals, np.concatenate([order[said][:of_said], order[~said][: count - of_said]]))
    return np.flatnonzero(~held), np.flatnonzero(held)
