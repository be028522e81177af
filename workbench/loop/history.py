"""What a loop has been told so far, read from the feedback log: so that a loop built anew goes on where it was."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import LoopError
from ..feedback import Feedback, Record, rationale
from .curve import Point
from .users import RIGHT, SHORTCUT, WRONG, Answer

if TYPE_CHECKING:
    from ..runs import Run

__all__ = ["Asked", "History", "Round", "as_records", "per_round_sizes"]


@dataclass(frozen=True)
class Asked:
    """One answer, as the log has it.

    Attributes
    ----------
    key : str
        Of the row.
    round : int
        In which it was given, from 0.
    verdict : str
        One of `feedback.VERDICTS`.
    trained_on : int
        Version of the log that the model shown was trained on; 0 for the model that the loop started from.
    """

    key: str
    round: int
    verdict: str
    trained_on: int


@dataclass(frozen=True, eq=False)
class Round:
    """One turn of the loop.

    Attributes
    ----------
    number : int
        From 1.
    answers : int
        Rows answered since the loop began.
    verdicts : mapping of str to int
        What was said in this round, and how often.
    run : Run or None
        What came out; that of the round before where nothing was said that changes it, and None where nothing was
        said at all that a training could use.
    point : Point or None
        Of the learning curve.
    """

    number: int
    answers: int
    verdicts: Mapping[str, int]
    run: Run | None
    point: Point | None

    def __repr__(self) -> str:
        told = ", ".join(f"{count} {verdict}" for verdict, count in self.verdicts.items())
        reached = "" if self.point is None else f"; accuracy {self.point.accuracy:.3f}"
        return f"Round({self.number}: {told}; {self.answers:,} answers so far{reached})"


class History:
    """The answers of one loop that stand in a log.

    Parameters
    ----------
    log : Feedback
        The log.
    name : str
        Of the loop.
    keys : container of str
        Rows of the panel; answers about others are none of this loop's.
    """

    def __init__(self, log: Feedback, name: str, keys: Container[str]) -> None:
        by_key: dict[str, Asked] = {}
        for record in log.records(kind="verdict"):
            about = record.shown or {}
            if about.get("loop") == name and record.key in keys:
                # Of two answers about a row the later counts, in the round in which it was first asked.
                first = by_key.get(record.key)
                number = int(about["round"]) if first is None else first.round
                by_key[record.key] = Asked(record.key, number, record.body["verdict"], int(about["trained_on"]))
        self.answers = list(by_key.values())

    def __len__(self) -> int:
        return len(self.answers)

    def of_round(self, number: int) -> list[Asked]:
        """Return the answers of one round."""
        return [asked for asked in self.answers if asked.round == number]

    def before(self, number: int) -> list[Asked]:
        """Return the answers of earlier rounds."""
        return [asked for asked in self.answers if asked.round < number]

    def open_round(self, sizes: Sequence[int]) -> int:
        """Return the number of the round that is to be answered: the last one begun, or the one after it."""
        last = max((asked.round for asked in self.answers), default=0)
        full = len(self.of_round(last)) >= size_of(sizes, last)
        return last + 1 if full else last


def size_of(sizes: Sequence[int], number: int) -> int:
    """Return how many rows a round asks about; the last size goes on."""
    return sizes[min(number, len(sizes) - 1)]


def per_round_sizes(per_round: int | Iterable[int]) -> tuple[int, ...]:
    """Return the sizes of the rounds.

    Raises
    ------
    LoopError
        If there is none, or one asks about nothing.
    """
    sizes = (per_round,) if isinstance(per_round, int) else tuple(per_round)
    if not sizes or not all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in sizes):
        raise LoopError(f"`per_round` must be a number of rows, at least 1, or one for each round; got {per_round!r}.")
    return sizes


def as_records(
    key: str,
    answer: Answer,
    *,
    column: str,
    label: str,
    author: str | None,
    how: str,
    model: str,
    shown: dict[str, Any],
) -> list[Record]:
    """Return what an answer writes to the log, to be written at once: the verdict comes last, and stands for all.

    CAIPI's three cases come out as they are: of a right reason only the verdict, of a wrong label the label, of a
    wrong reason the region.
    """
    about: dict[str, Any] = {"author": author or "", "how": how, "model": model, "shown": shown}
    records = []
    if answer.label is not None:
        records.append(Record("label", key, {"label": answer.label}, label, **about))
    for role in ("irrelevant", "relevant"):
        region = getattr(answer, role)
        if region is not None:
            records.append(rationale(key, role, region, column=column, **about))
    if answer.note is not None:
        records.append(Record("note", key, {"text": answer.note}, column, **about))
    return [*records, Record("verdict", key, {"verdict": answer.verdict}, column, **about)]


def verdict_of(label: str | None, irrelevant: Any, relevant: Any) -> str:
    """Return the verdict that an answer without one amounts to."""
    if irrelevant is not None or relevant is not None:
        return SHORTCUT
    return RIGHT if label is None else WRONG
