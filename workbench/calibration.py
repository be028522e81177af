"""Calibration: whether a classifier is right as often as it says it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "Calibration", "ReliabilityBin", "calibration", "scores_of_rows"]

BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows whose confidence lies in (low, high].

    Attributes
    ----------
    low, high : float
        Of the bin; the first bin also holds its lower end.
    rows : int
        How many.
    confidence, accuracy : float or None
        Their means; None without rows.
    """

    low: float
    high: float
    rows: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """How well confidences fit, over rows with a label and a finite score.

    Attributes
    ----------
    rows : int
        How many.
    error : float
        Expected calibration error: |accuracy − confidence| of `BINS` bins of equal width, weighted by their rows.
        It depends on the binning: compare it only with its like.
    brier : float
        Mean squared distance from the probabilities to the truth, summed over classes: in [0, 2].
    log_loss : float or None
        Mean −log p of the label, in nats, over rows whose class the classifier knows; None if there are none.
    bins : tuple of ReliabilityBin
        What a reliability diagram draws.
    """

    rows: int
    error: float
    brier: float
    log_loss: float | None
    bins: tuple[ReliabilityBin, ...]


def calibration(
    confidence: NDArray[np.floating],
    right: NDArray[np.bool_],
    brier: NDArray[np.floating],
    nats: NDArray[np.floating],
) -> Calibration | None:
    """Return the calibration of rows; see `scores_of_rows` for what they bring.

    Parameters
    ----------
    confidence : ndarray, shape (rows,), float
        Probability of the class predicted; rows where it is not a number are left out.
    right : ndarray, shape (rows,), bool
        Whether that class is the label.
    brier, nats : ndarray, shape (rows,), float
        Brier score and −log p of the label of each row; `nats` is NaN where the classifier does not know the class.

    Returns
    -------
    Calibration or None
        None without rows. Bins of equal width and the confidence of the class predicted, as in [1]_; the score
        of probabilities is that of [2]_.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    .. [2] G. W. Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review 78,
       1950.

    Examples
    --------
    >>> sure, right = np.array([0.9, 0.9]), np.array([True, False])
    >>> round(calibration(sure, right, np.zeros(2), np.zeros(2)).error, 3)
    0.4
    """
    there = np.isfinite(confidence)
    rows = int(there.sum())
    if not rows:
        return None
    sure, hit = confidence[there].astype(np.float64), right[there]
    edges = np.linspace(0.0, 1.0, BINS + 1)
    place = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    sures = np.bincount(place, weights=sure, minlength=BINS)
    hits = np.bincount(place, weights=hit, minlength=BINS)
    known = nats[there][np.isfinite(nats[there])]
    return Calibration(
        rows=rows,
        error=float(np.abs(hits - sures).sum() / rows),
        brier=float(brier[there].mean()),
        log_loss=float(known.mean()) if len(known) else None,
        bins=tuple(
            ReliabilityBin(
                low=float(edges[i]),
                high=float(edges[i + 1]),
                rows=int(n),
                confidence=float(sures[i] / n) if n else None,
                accuracy=float(hits[i] / n) if n else None,
            )
            for i, n in enumerate(counts)
        ),
    )


def scores_of_rows(
    logits: NDArray[np.floating], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return confidence, Brier score and −log p of the label, row by row, in double precision.

    Parameters
    ----------
    logits : ndarray, shape (rows, classes), float
        Scores of the classes; a row with one that is not finite gets NaN.
    labels : ndarray, shape (rows,), int64
        Class numbers; one beyond the classes is a class that the classifier does not know, to which it gives
        probability 0 (and no −log p), a negative one no label at all.

    Returns
    -------
    confidence, brier, nats : ndarray, shape (rows,), float64
        NaN where there is none.

    Examples
    --------
    >>> sure, brier, nats = scores_of_rows(np.zeros((2, 2)), np.array([0, 2]))
    >>> sure, brier, nats.round(4)
    (array([0.5, 0.5]), array([0.5, 1.5]), array([0.6931,    nan]))
    """
    scores = np.where(np.isfinite(logits).all(axis=1, keepdims=True), logits, np.nan).astype(np.float64)
    log_p = scores - scores.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    known = (labels >= 0) & (labels < logits.shape[1])
    rows, index = np.arange(len(labels)), np.where(known, labels, 0)
    brier = np.square(p).sum(axis=1) + 1 - 2 * np.where(known, p[rows, index], 0.0)
    nats = np.where(known, -log_p[rows, index], np.nan)
    return p.max(axis=1), np.where(labels >= 0, brier, np.nan), nats
