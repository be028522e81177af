"""What one touch of a panel costs, in microseconds."""

from __future__ import annotations

from collections.abc import Iterable

import workbench as wb

from .figures import Figure, Scale, cell
from .sample import table
from .timing import seconds_per_call

__all__ = ["touches"]


@cell("touch")
def touches(scale: Scale) -> Iterable[Figure]:
    """A slice, a column, the length. Floor: a Python method that returns a stored object."""
    panel = wb.DataPanel(table(scale.rows, scale.distinct, scale.keys).columns, origin="bench")
    middle = scale.rows // 2
    view = panel[10:middle]

    class Bare:
        def __getitem__(self, what: object) -> object:
            return self

    bare = Bare()
    floor = 1e6 * seconds_per_call(lambda: bare[0], scale.repeats)
    cases = [
        ("panel[10:n]", lambda: panel[10:middle], 5.0),
        ("panel[10:n][5:m], a slice of a slice", lambda: view[5:100], 5.0),
        ('panel["x"]', lambda: panel["score"], 1.0),
        ("len(panel)", lambda: len(panel), 0.3),
    ]
    for words, function, target in cases:
        # The call of the lambda itself is in the figure, as it is in the floor.
        yield Figure(
            words, 1e6 * seconds_per_call(function, scale.repeats), "µs", target,
            floor=floor, floor_words="a method of an empty Python class, called in the same way",
        )  # fmt: skip
