"""Records: what a person said about a row, and who said it when, of which model, looking at what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from ..errors import FeedbackError
from .checks import check_id, check_one_of, check_text, cut
from .region import Region
from .regions import as_region

__all__ = ["HOWS", "KINDS", "ROLES", "VERDICTS", "Record", "checked", "copied", "now", "rationale"]

KINDS = ("rationale", "label", "verdict", "note", "tag", "undo")
ROLES = ("irrelevant", "relevant")
VERDICTS = ("right for the right reason", "right for the wrong reason", "wrong")
HOWS = ("painted", "propagated", "imported", "simulated")

_LONGEST_BODY = 64 << 20  # characters of a body in JSON
_BODIES = {
    "rationale": {"role", "region"},
    "label": {"label"},
    "verdict": {"verdict"},
    "note": {"text"},
    "tag": {"tag"},
    "undo": {"of"},
}


@dataclass(frozen=True)
class Record:
    """One thing that was said.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    key : str
        Of the row; empty only for an undo of records of several rows.
    body : mapping
        What was said, by kind: ``{"role": …, "region": {…}}``, ``{"label": name}``, ``{"verdict": one of VERDICTS}``,
        ``{"text": …}``, ``{"tag": …}``, ``{"of": [ids]}``.
    column : str or None
        Which column of the row is meant.
    author : str
        Who said it; empty for the author of the log that it is written to.
    time : str
        When: UTC, ISO 8601 with microseconds; empty for the moment of writing.
    model : str or None
        Version of the model that was shown.
    shown : mapping or None
        What was on the screen: method, target and so on, as JSON can hold it.
    how : str
        One of `HOWS`.
    source : int or None
        Of a propagated record: the id of the one it was copied from.
    id : int or None
        Its number in the log, from 1; None before it is written.
    uid : str or None
        Its name in any log, by which an import knows what it has already; given on writing.
    """

    kind: str
    key: str
    body: Mapping[str, Any] = field(hash=False)
    column: str | None = None
    author: str = ""
    time: str = ""
    model: str | None = None
    shown: Mapping[str, Any] | None = field(default=None, hash=False)
    how: str = "painted"
    source: int | None = None
    id: int | None = None
    uid: str | None = None

    @cached_property
    def region(self) -> Region:
        """The region of a rationale.

        Raises
        ------
        FeedbackError
            If this is no rationale, or its region cannot be read.
        """
        if self.kind != "rationale":
            raise FeedbackError(f"Only a rationale has a region; record {self.id} is a {self.kind}.")
        return Region.from_dict(self.body["region"])

    @property
    def propagated(self) -> bool:
        """Whether this was carried over from another row, here or in the log that it was imported from."""
        return self.how == "propagated" or self.source is not None

    @property
    def of(self) -> tuple[int, ...]:
        """The ids that an undo takes back; none for other records."""
        return tuple(self.body["of"]) if self.kind == "undo" else ()

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON can hold it."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Return the record that `to_dict` wrote, checked.

        Raises
        ------
        FeedbackError
            If a field is missing or unknown, or holds what it must not.
        """
        known = {f.name for f in fields(cls)}
        if not isinstance(values, Mapping) or not {"kind", "key", "body"} <= set(values) <= known:
            got = sorted(map(str, values)) if isinstance(values, Mapping) else type(values).__name__
            raise FeedbackError(f"A record has 'kind', 'key' and 'body', and may have {sorted(known)}; got {got}.")
        return checked(cls(**values))


def rationale(key: str, role: str, region: Any, *, column: str = "image", **about: Any) -> Record:
    """Return a rationale that is not written yet.

    Parameters
    ----------
    key : str
        Of the row.
    role : {"irrelevant", "relevant"}
        What was said of the region.
    region : Region, boolean mask, or spans
        See `as_region`.
    column : str
        Which column of the row is meant.
    **about
        Other fields of a `Record`: ``author=``, ``how=``, ``source=`` ...

    Examples
    --------
    >>> rationale("reviews/3", "irrelevant", [(0, 4)], column="text").region
    TextRegion(spans=((0, 4),), length=None)
    """
    body = {"role": role, "region": as_region(region).to_dict()}
    return Record("rationale", key, body, column, **about)


def copied(record: Record, key: str, source: int | None, number: int | None, uid: str | None, time: str = "") -> Record:
    """Return a checked record as one of another row, under another number and, if it has no time, at one.

    Its body is shared.

    Raises
    ------
    FeedbackError
        If the key, the source or the number is none.
    """
    if record.kind != "undo" or key != "":
        check_text(key, "key")
    for name, value in (("source", source), ("id", number)):
        if value is not None:
            check_id(value, f"`{name}`")
    if uid is not None:
        check_text(uid, "uid")
    # As `dataclasses.replace` would do, in a fifth of the time: there may be a hundred thousand of them.
    new = object.__new__(Record)
    new.__dict__.update(record.__dict__)
    new.__dict__.update(key=key, source=source, id=number, uid=uid, time=record.time or time)
    return new


def checked(record: Record, *, author: str = "", region: Region | None = None) -> Record:
    """Return a record whose fields hold what they may, as plain data, with what was left empty filled in.

    Parameters
    ----------
    record : Record
        As somebody made it.
    author : str
        What to fill in.
    region : Region, optional
        That of a rationale whose body was read from JSON a moment ago, and needs no second reading.

    Raises
    ------
    FeedbackError
        If a field holds what it must not; says which.
    """
    check_one_of(record.kind, KINDS, "kind")
    check_one_of(record.how, HOWS, "how")
    if record.kind != "undo" or record.key != "":
        check_text(record.key, "key")
    for name in ("column", "model", "uid"):
        if getattr(record, name) is not None:
            check_text(getattr(record, name), name)
    author = record.author or author
    if author:
        check_text(author, "author")
    for name in ("source", "id"):
        if getattr(record, name) is not None:
            check_id(getattr(record, name), f"`{name}`")
    if record.shown is not None and not isinstance(record.shown, Mapping):
        raise FeedbackError(f"`shown` must say what was on the screen by name; got {cut(record.shown)}.")
    body: Mapping[str, Any]
    if record.kind == "rationale" and region is None:
        body, region = _checked_rationale(record)
    else:
        body = _checked_body(record) if region is None else record.body
    plain = replace(
        record,
        body=body,
        shown=None if record.shown is None else _as_json(record.shown, "shown"),
        author=author,
        time=_checked_time(record.time) if record.time else "",
    )
    if region is not None:
        plain.__dict__["region"] = region  # where the cached property looks
    return plain


def now() -> str:
    """Return the time as records have it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _checked_rationale(record: Record) -> tuple[dict[str, Any], Region]:
    body = record.body
    _check_names(record)
    if record.column is None:
        raise FeedbackError("A rationale must say which column of the row is meant; `column` is None.")
    check_one_of(body["role"], ROLES, "role")
    given = body["region"]
    region = given if isinstance(given, Region) else Region.from_dict(given)
    return _as_json({"role": body["role"], "region": region.to_dict()}, "body"), region


def _check_names(record: Record) -> None:
    wanted, body = _BODIES[record.kind], record.body
    if not isinstance(body, Mapping) or set(body) != wanted:
        raise FeedbackError(f"The body of a {record.kind} must have exactly {sorted(wanted)}; got {cut(body)}.")


def _checked_body(record: Record) -> dict[str, Any]:
    _check_names(record)
    body = record.body
    if record.kind == "verdict":
        check_one_of(body["verdict"], VERDICTS, "verdict")
    elif record.kind == "note":
        check_text(body["text"], "text", _LONGEST_BODY)
    elif record.kind == "undo":
        ids = body["of"]
        if not isinstance(ids, Sequence) or isinstance(ids, str) or not ids:
            raise FeedbackError(f"An undo must name the ids of what it takes back, at least one; got {cut(ids)}.")
        for number in ids:
            check_id(number, "Each id of an undo")
        body = {"of": list(ids)}
    else:
        check_text(body[record.kind], record.kind)
    return _as_json(body, "body")


def _as_json(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a copy that holds nothing but what JSON can."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise FeedbackError(
            f"`{name}` of a record must be what JSON can hold: text, finite numbers, lists, objects; {error}."
        ) from error
    if len(text) > _LONGEST_BODY:
        raise FeedbackError(f"`{name}` of a record may have {_LONGEST_BODY:,} characters at most; got {len(text):,}.")
    plain: dict[str, Any] = json.loads(text)
    return plain


def _checked_time(value: object) -> str:
    try:
        moment = datetime.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise FeedbackError(f"`time` must be a time in ISO 8601; got {cut(value)}.") from error
    if moment.tzinfo is None:
        raise FeedbackError(f"`time` must say its zone, 2026-01-31T09:30:00+00:00 say; got '{value}'.")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
