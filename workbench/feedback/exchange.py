"""Feedback out of a log and into one: JSON Lines, COCO, spans as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .records import Record
from .writing import Writing

if TYPE_CHECKING:
    from ..panel import DataPanel

__all__ = ["Exchange"]

Place = str | os.PathLike[str]


class Exchange(Writing):
    """The exports and imports of a log.

    Exports replace a file at once or not at all. Imports are one write: all of it, or, where anything in the file is
    wrong, nothing; what they add is marked as imported.
    """

    def export_jsonl(self, path: Place) -> int:
        """Write every record to a file, one JSON object a line: undone ones, undos and all.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        int
            Number of records.
        """
        from .lines import export_lines

        return export_lines(self, path)

    def import_jsonl(self, path: Place, *, how: str | None = "imported") -> tuple[Record, ...]:
        """Add the records of a file that `export_jsonl` wrote, or of many such files, one after the other.

        A record that is there already is not added again. Authors and times are kept. What counts as the latest is
        the order of the log, not the time, which is that of somebody's clock: what is added comes after what is there,
        and takes the place of what the same author said of a row. One `undo` by the author takes it back.

        Parameters
        ----------
        path : str or Path
        how : str, optional
            What the records say of how they came about; None keeps what the file says: to restore a log.

        Returns
        -------
        tuple of Record
            Those added.

        Raises
        ------
        FeedbackError
            If a line is no record, or names one that is not in the file before it; names the line.
        """
        from .lines import import_lines

        return import_lines(self, path, how)

    def export_coco(self, path: Place, *, column: str = "image", rule: str = "latest") -> int:
        """Write the regions of pictures as COCO annotations: run lengths, in two categories.

        Parameters
        ----------
        path : str or Path
        column, rule : str
            See `regions`.

        Returns
        -------
        int
            Number of annotations; empty regions have none.
        """
        from .coco import export_annotations

        return export_annotations(self, path, column, rule)

    def import_coco(
        self,
        path: Place,
        *,
        panel: DataPanel | None = None,
        categories: Mapping[str, str] | None = None,
        column: str = "image",
        author: str | None = None,
    ) -> tuple[Record, ...]:
        """Add the annotations of a COCO file: polygons, run lengths, compressed or not.

        Annotations of one picture and role come to one region. Pictures are found by ``"key"``, as we write it, else
        by file name: the one row of the panel whose key it is, or whose key ends in it.

        Parameters
        ----------
        path : str or Path
        panel : DataPanel, optional
            Whose rows the pictures must be; without it, file names are taken for keys.
        categories : mapping of str to {"irrelevant", "relevant"}, optional
            Which categories count as what: ``{"watermark": "irrelevant"}``; others are left out. Without it, each
            must be called as a role is.
        column : str
            Which column the regions are parts of.
        author : str, optional
            Who speaks, if not the author of the log.

        Returns
        -------
        tuple of Record
            Those added.

        Raises
        ------
        FeedbackError
            If the file is no such thing, or a picture is not in the panel, or several are meant.
        """
        from .coco import import_annotations

        return import_annotations(self, path, panel, categories, column, author)

    def export_spans(self, path: Place, *, column: str = "text", rule: str = "latest") -> int:
        """Write the spans of texts as a JSON list of ``{"key", "irrelevant": [[start, end], …], "relevant": …}``.

        Parameters
        ----------
        path : str or Path
        column, rule : str
            See `regions`.

        Returns
        -------
        int
            Number of rows.
        """
        from .lines import export_spans

        return export_spans(self, path, column, rule)

    def import_spans(self, path: Place, *, column: str = "text", author: str | None = None) -> tuple[Record, ...]:
        """Add the spans of a file as `export_spans` writes it.

        Parameters
        ----------
        path : str or Path
        column : str
            Which column the spans are parts of.
        author : str, optional
            Who speaks, if not the author of the log.

        Returns
        -------
        tuple of Record
            Those added.

        Raises
        ------
        FeedbackError
            If the file is no such list; names the line or the item.
        """
        from .lines import import_spans

        return import_spans(self, path, column, author)
