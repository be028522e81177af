"""The learning curve: what the answers have brought so far, and what the next ones can be expected to bring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import LoopError

__all__ = ["LearningCurve", "Outlook", "Point", "PowerLaw"]

# Exponents that are tried: from almost a straight line on a logarithmic scale to all at once.
_EXPONENTS = np.geomspace(0.05, 3.0, 60)

# Three numbers are fitted; with a single point more there is something for them to fail at.
_FEWEST = 4

_RESAMPLES = 400


@dataclass(frozen=True)
class Point:
    """One look at a classifier.

    Attributes
    ----------
    answers : int
        Rows that had been answered when it was trained.
    accuracy : float
        In [0, 1].
    rows : int
        How many rows it was judged on.
    guarded : bool
        Whether a shortcut could not have made it look better: it was judged on rows given for that, or on held-out
        rows whose marked regions were refilled.
    """

    answers: int
    accuracy: float
    rows: int
    guarded: bool = True


@dataclass(frozen=True)
class PowerLaw:
    """error(n) = a · (1 + n)^-b + c: how errors fall with the number of answers.

    Attributes
    ----------
    a, b, c : float
        What answers can take away, how fast, and what they cannot; a and c at least 0.

    Examples
    --------
    >>> round(float(PowerLaw(a=0.4, b=0.5, c=0.1).error(3)), 3)
    0.3
    """

    a: float
    b: float
    c: float

    def error(self, answers: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of rows that are wrong after so many answers; not above 1."""
        grown = 1.0 + np.asarray(answers, np.float64)
        return np.minimum(self.a * grown**-self.b + self.c, 1.0)


@dataclass(frozen=True)
class Outlook:
    """What can be expected after some more answers.

    Attributes
    ----------
    answers : int
        In all, then.
    accuracy : float or None
        Expected; None if there is too little to tell from.
    low, high : float or None
        Interval for the expected accuracy.
    level : float
        Of the interval.
    why_not : str
        Why there is no estimate; empty if there is one.
    """

    answers: int
    accuracy: float | None
    low: float | None
    high: float | None
    level: float
    why_not: str = ""

    def __str__(self) -> str:
        if self.accuracy is None or self.low is None or self.high is None:
            return f"after {self.answers:,} answers: {self.why_not}"
        return (
            f"after {self.answers:,} answers: {self.accuracy:.3f} expected "
            f"({100 * self.level:.0f} % interval {self.low:.3f} to {self.high:.3f})"
        )


class LearningCurve:
    """Accuracy by number of answers.

    Parameters
    ----------
    points : iterable of Point
        In any order; of several with as many answers the last counts.

    Examples
    --------
    >>> found = [Point(n, 1 - PowerLaw(0.4, 0.5, 0.1).error(n), rows=2000) for n in (0, 10, 20, 50, 100)]
    >>> curve = LearningCurve(found)
    >>> law = curve.fit()
    >>> round(law.b, 1), round(law.c, 2)
    (0.5, 0.1)
    >>> print(LearningCurve(found[:2]).outlook(50))
    after 60 answers: no estimate from 2 points; a power law needs 4
    """

    def __init__(self, points: Iterable[Point] = ()) -> None:
        by_answers = {point.answers: point for point in points}
        self.points = tuple(by_answers[answers] for answers in sorted(by_answers))

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def __repr__(self) -> str:
        told = ", ".join(f"{p.answers}: {p.accuracy:.3f}{'' if p.guarded else '?'}" for p in self.points)
        return f"LearningCurve({told or 'no points yet'})"

    def added(self, point: Point) -> LearningCurve:
        """Return the curve with one more point."""
        return LearningCurve([*self.points, point])

    def area(self, until: int | None = None) -> float:
        """Return the area under the curve by trapezoids, as a mean accuracy from no answer to `until`.

        Parameters
        ----------
        until : int, optional
            Up to how many answers; the last point if left out.

        Raises
        ------
        LoopError
            If the points do not reach from 0 to `until`.

        Examples
        --------
        >>> LearningCurve([Point(0, 0.5, 100), Point(10, 0.75, 100), Point(20, 1.0, 100)]).area(10)
        0.625
        """
        answers, accuracy = self._arrays()[:2]
        end = int(answers[-1]) if until is None and len(answers) else until
        if end is None or end < 1 or len(answers) < 2 or answers[0] != 0 or answers[-1] < end:
            raise LoopError(
                f"An area needs a curve from 0 to {end if end is not None else 'some number of'} answers; this one has "
                f"points at {[p.answers for p in self.points]}."
            )
        inside = np.append(answers[answers < end], end)
        return float(np.trapezoid(np.interp(inside, answers, accuracy), inside) / end)

    def fit(self) -> PowerLaw | None:
        """Fit a power law to the errors, after [1]_.

        Weighted least squares, each point by the binomial variance of its accuracy: for each exponent of a grid
        the best a and c that are not negative, and of these fits the best. One more answer is counted everywhere,
        so that the start has its place on the curve.

        Returns
        -------
        PowerLaw or None
            None with fewer than four points.

        References
        ----------
        .. [1] C. Cortes, L. D. Jackel, S. A. Solla, V. Vapnik, J. S. Denker, "Learning Curves: Asymptotic Values and
           Rate of Convergence", NIPS 1993.
        """
        if len(self) < _FEWEST:
            return None
        answers, accuracy, variance = self._arrays()
        a, b, c, _ = _fitted(answers, 1 - accuracy[None], 1 / variance)
        return PowerLaw(float(a[0]), float(b[0]), float(c[0]))

    def outlook(self, more: int, *, level: float = 0.9, seed: int = 0) -> Outlook:
        """Tell what the next answers can be expected to bring.

        The interval is that of a parametric bootstrap: the errors are drawn anew about the fitted law, with their
        binomial variance, or a larger one where the points scatter more than that about it; each draw is fitted,
        and asked the same.

        Parameters
        ----------
        more : int
            Answers beyond the last point.
        level : float
            Of the interval, in (0, 1).
        seed : int
            Draws the errors.

        Returns
        -------
        Outlook
            With an accuracy and an interval; or with neither, and the reason, where there are too few points or
            the curve does not rise.

        Raises
        ------
        LoopError
            If `more` is negative or `level` out of range.

        Notes
        -----
        The interval is for the accuracy that the law expects: a single training scatters about it. Points are taken
        to be independent, though they are judged on the same rows, and the law to hold further on: a shortcut that is
        gone once for all, after which nothing is left to gain, looks like a steep law with a high floor.
        """
        if more < 0 or not 0 < level < 1:
            raise LoopError(f"`more` must be at least 0 and `level` lie in (0, 1); got {more} and {level}.")
        total = (self.points[-1].answers if self.points else 0) + more
        law = self.fit()
        if law is None:
            many = f"{len(self)} point{'' if len(self) == 1 else 's'}"
            return Outlook(total, None, None, None, level, f"no estimate from {many}; a power law needs {_FEWEST}")
        answers, accuracy, variance = self._arrays()
        if law.a <= 0:
            return Outlook(
                total, None, None, None, level, "no estimate: the answers have not lowered the errors so far"
            )
        fitted = law.error(answers)
        freedom = max(1, len(answers) - 3)
        scatter = max(1.0, float((((1 - accuracy) - fitted) ** 2 / variance).sum()) / freedom)
        drawn = np.random.default_rng(seed).normal(fitted, np.sqrt(scatter * variance), size=(_RESAMPLES, len(answers)))
        a, b, c, _ = _fitted(answers, drawn.clip(0, 1), 1 / variance)
        errors = np.minimum(a * (1.0 + total) ** -b + c, 1.0)
        low, high = np.quantile(1 - errors, [(1 - level) / 2, (1 + level) / 2])
        expected = float(1 - law.error(total))
        # The law itself always lies in its interval, also where draws at a bound are one-sided.
        return Outlook(total, expected, min(float(low), expected), max(float(high), expected), level)

    def _arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return answers, accuracies and their binomial variances (one row added to either side: never zero)."""
        answers = np.array([p.answers for p in self.points], np.float64)
        accuracy = np.array([p.accuracy for p in self.points], np.float64)
        rows = np.array([p.rows for p in self.points], np.float64)
        share = (accuracy * rows + 1) / (rows + 2)
        return answers, accuracy, share * (1 - share) / rows


def _fitted(
    answers: NDArray[np.float64], errors: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Fit a, b, c to each row of `errors`, shape (draws, points); and the weighted squares that are left."""
    best = [np.zeros(len(errors)) for _ in range(3)] + [np.full(len(errors), np.inf)]
    total = weights.sum()
    for b in _EXPONENTS:
        x = (1.0 + answers) ** -b
        mean_x, mean_y = (weights * x).sum() / total, errors @ weights / total
        across = (weights * (x - mean_x)) @ (errors - mean_y[:, None]).T
        a = across / (weights * (x - mean_x) ** 2).sum()
        c = mean_y - a * mean_x
        # Least squares under a ≥ 0 and c ≥ 0: inside, or else on the better of the two edges.
        through = ((weights * x) @ errors.T / (weights * x**2).sum()).clip(0)
        choices = [(a, c, (a >= 0) & (c >= 0)), (through, 0 * c, None), (0 * a, mean_y, None)]
        for one_a, one_c, allowed in choices:
            left = ((one_a[:, None] * x + one_c[:, None] - errors) ** 2) @ weights
            better = left < best[3] if allowed is None else (left < best[3]) & allowed
            for kept, new in zip(best, (one_a, np.full_like(a, b), one_c, left), strict=True):
                kept[better] = new[better]
    return tuple(best)
