"""Records as JSON Lines, spans as JSON: read with suspicion, written at once or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FeedbackError
from .checks import cut
from .records import ROLES, Record, checked, rationale
from .regions import TextRegion

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ["export_lines", "export_spans", "import_lines", "import_spans", "read_json", "told_at", "write_file"]


def export_lines(log: Exchange, path: str | os.PathLike[str]) -> int:
    """Write every record as one line of JSON; see `Exchange.export_jsonl`."""
    records = log.records(standing=False)
    write_file(path, (json.dumps(record.to_dict(), ensure_ascii=False) + "\n" for record in records))
    return len(records)


def import_lines(log: Exchange, path: str | os.PathLike[str], how: str | None) -> tuple[Record, ...]:
    """Add the records of JSON Lines; see `Exchange.import_jsonl`."""
    given = list(_read_lines(path))
    with log._writing() as connection:
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()
        here: dict[int, int] = {}  # ids in the file, and what they are in the log
        added: dict[str | None, int] = {}
        new: list[Record] = []
        for number, record in given:
            with told_at(f"Line {number} of '{path}'"):
                row = connection.execute("SELECT id FROM records WHERE uid = ?", (record.uid,)).fetchone()
                if row is None and record.uid not in added:
                    new.append(_moved(record, here, how, log.author))
                    added[record.uid] = last + len(new)
                if record.id is not None:
                    # Of several files in one, ids begin again: the line before is the one that is meant.
                    here[record.id] = row[0] if row else added[record.uid]
        return log._append(connection, new, strict=False)


def _read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, Record]]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                with told_at(f"Line {number} of '{path}'"):
                    record = Record.from_dict(_parsed(line.decode()))
                    # A line that somebody wrote by hand is known again by what it says.
                    own = hashlib.blake2b(line.strip(), digest_size=12).hexdigest()
                yield number, replace(record, uid=record.uid or own)


def _moved(record: Record, here: dict[int, int], how: str | None, author: str) -> Record:
    """Return a record of a file as one of this log, where records have other ids."""
    lost = [i for i in (*record.of, record.source) if i is not None and i not in here]
    if lost:
        raise FeedbackError(f"the record names record {lost[0]}, which is not in the file before it")
    body = {"of": [here[i] for i in record.of]} if record.kind == "undo" else record.body
    source = None if record.source is None else here[record.source]
    return checked(replace(record, id=None, source=source, body=body, how=how or record.how), author=author)


def export_spans(log: Exchange, path: str | os.PathLike[str], column: str, rule: str) -> int:
    """Write spans as a list of objects; see `Exchange.export_spans`."""
    rows: dict[str, dict[str, Any]] = {}
    for role in ROLES:
        for key, region in log.regions(role, column=column, rule=rule).items():
            if not isinstance(region, TextRegion):
                raise FeedbackError(f"Spans are of texts; what was said of '{key}' is of {region.extent}.")
            rows.setdefault(key, {"key": key})[role] = [list(span) for span in region.spans]
    write_file(path, [json.dumps(list(rows.values()), ensure_ascii=False, indent=1) + "\n"])
    return len(rows)


def import_spans(log: Exchange, path: str | os.PathLike[str], column: str, author: str | None) -> tuple[Record, ...]:
    """Add spans from a list of objects; see `Exchange.import_spans`."""
    items = read_json(path)
    if not isinstance(items, list):
        raise FeedbackError(f"'{path}' must hold a list of objects with a key and spans; got {cut(items)}.")
    records = []
    for number, item in enumerate(items, start=1):
        with told_at(f"Item {number} of '{path}'"):
            if not isinstance(item, dict) or "key" not in item or not {"key"} < set(item) <= {"key", *ROLES}:
                raise FeedbackError(f"an item must have a 'key', and spans under {list(ROLES)}; got {cut(item)}")
            for role in ROLES:
                if role in item:
                    region = TextRegion(item[role])
                    about = {"column": column, "how": "imported", "author": author or log.author}
                    records.append(checked(rationale(item["key"], role, region, **about)))
    with log._writing() as connection:
        return log._append(connection, records)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return what a file of JSON holds.

    Raises
    ------
    FeedbackError
        If it is none; names the line.
    """
    try:
        return _parsed(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise FeedbackError(f"'{path}' is not UTF-8: {error}.") from error
    except json.JSONDecodeError as error:
        raise FeedbackError(f"Line {error.lineno} of '{path}' is not JSON: {error.msg}.") from error
    except (ValueError, RecursionError) as error:
        raise FeedbackError(f"'{path}' is not JSON that can be read: {error}.") from error


def write_file(path: str | os.PathLike[str], parts: Iterable[str]) -> None:
    """Write a text file, which is there as a whole or not at all."""
    place = Path(path)
    handle, draft = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.", suffix=".draft")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, place)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(draft)
        raise


@contextmanager
def told_at(place: str) -> Iterator[None]:
    """Say where in a file something is wrong."""
    try:
        yield
    except (ValueError, RecursionError) as error:  # FeedbackError and JSONDecodeError are ValueErrors
        words = str(error).rstrip(".")
        raise FeedbackError(f"{place}: {words}. Nothing was added.") from error


def _parsed(text: str) -> Any:
    return json.loads(text, parse_constant=_no_number)


def _no_number(name: str) -> Any:
    raise ValueError(f"numbers must be finite; got {name}")
