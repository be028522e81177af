"""The record of a run: what went in, what came out, and all that is needed to do it again, as plain values."""

from __future__ import annotations

import datetime
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch

from ..errors import RunError, RunFileError
from ..record import Training
from .files import field as checked
from .plain import to_plain
from .provenance import code_version, package_versions

__all__ = ["KINDS", "RUN_ID", "STATUSES", "RunRecord", "new_id", "now", "outcome"]

KINDS = ("fit", "finetune")
RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,80}")
STATUSES = ("running", "done", "interrupted", "failed")
VERSIONS = ("content", "expression", "nothing")
# What is read from within the mappings of a file: that which must be there, and that which may.
_NEEDED: dict[str, dict[str, type[Any]]] = {
    "rows": {"panel": int, "trained": int, "held_out": int, "keys": str},
    "computer": {"device": str, "threads": int},
}
_KNOWN: dict[str, dict[str, type[Any]]] = {
    "outcome": {
        "kept_step": int, "guarded": bool, "interrupted": bool, "stopped_early": bool, "seconds": float,
        "selection": str, "refilled": int, "chosen_on": int,
    },
}  # fmt: skip


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run beside its weights and the figures of its steps.

    Attributes
    ----------
    id, name : str
        Unique, in the order of time; and what people call it.
    kind : {"fit", "finetune"}
        Which function was called.
    status : {"running", "done", "interrupted", "failed"}
        As written: one that says "running" and whose process is gone was interrupted; `Run.status` tells.
    started, ended : str
        In UTC, ISO 8601; `ended` is empty while it runs.
    code : mapping
        "distribution", its version, and "digest" of the sources of the three packages.
    packages : mapping
        Versions by name, Python's among them.
    computer : mapping
        Device, processor, threads, and the switches of torch that change the last bits.
    data : mapping of str to mapping
        For each column that was read, masks and corrected labels among them: its version.
    rows : mapping
        "panel", "trained", "held_out": how many; "keys": digest of the keys and their parts.
    feedback : mapping or None
        Of a log: its "path", "identity" and "version".
    seed : int
        Draws everything that is drawn.
    settings, loss : plain value
        As `workbench.runs.plain` writes them; the loss with its weights settled.
    call : mapping
        The other arguments of the function.
    parent : mapping or None
        "run", which made the model that it started from, and whether its weights were still the "same".
    before, after : str
        Digests of the weights; `after` is empty while it runs.
    outcome : mapping
        What else the training says: "kept_step", "guarded", "interrupted", "seconds", "selection" ...
    error : str
        Why it failed.
    """

    id: str
    name: str
    kind: str
    status: str
    started: str
    ended: str
    code: Mapping[str, Any]
    packages: Mapping[str, Any]
    computer: Mapping[str, Any]
    data: Mapping[str, Any]
    rows: Mapping[str, Any]
    feedback: Mapping[str, Any] | None
    seed: int
    settings: Any
    loss: Any
    call: Mapping[str, Any]
    parent: Mapping[str, Any] | None
    before: str
    after: str = ""
    outcome: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    @classmethod
    def begun(
        cls, kind: str, name: str, *, computer: Mapping[str, Any], parent: Mapping[str, Any] | None, before: str
    ) -> RunRecord:
        """Return the record of a run that begins now, of which data and settings are not told yet."""
        if kind not in KINDS:
            raise RunError(f"A run is of kind {' or '.join(KINDS)}; got {kind!r}.")
        if parent is not None and not RUN_ID.fullmatch(str(parent["run"])):
            raise RunError(f"`parent` must be a run, or the id of one: letters, digits and '-'; got {parent['run']!r}.")
        return cls(
            new_id(), name, kind, "running", now(), "", code_version(), package_versions(), computer,
            data={}, rows={}, feedback=None, seed=0, settings=None, loss=None, call={}, parent=parent, before=before,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the record for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], where: Any = "record") -> RunRecord:
        """Return the record that `to_dict` wrote.

        Raises
        ------
        RunFileError
            If a field is missing or of another kind; names `where`.
        """
        kinds: dict[str, type[Any]] = {"str": str, "int": int, "Mapping[str, Any]": dict}
        found: dict[str, Any] = {}
        for each in fields(cls):
            kind = str(each.type)
            if kind == "Any":
                found[each.name] = given.get(each.name)
            elif kind.endswith("| None"):
                found[each.name] = checked(given, each.name, dict, None, where=where)
            else:
                found[each.name] = checked(given, each.name, kinds[kind], where=where)
        for name, words in (("kind", KINDS), ("status", STATUSES)):
            if found[name] not in words:
                raise RunFileError(
                    f"'{where}' is damaged: '{name}' must be one of {', '.join(words)}; got {found[name]!r}."
                )
        for name, known in ("id", found["id"]), ("parent.run", (found["parent"] or {"run": "0"}).get("run")):
            if not isinstance(known, str) or not RUN_ID.fullmatch(known):
                raise RunFileError(f"'{where}' is damaged: '{name}' must be letters, digits and '-'; got {known!r}.")
        for name, version in found["data"].items():
            if not (
                isinstance(version, dict) and version.get("by") in VERSIONS and isinstance(version.get("digest"), str)
            ):
                raise RunFileError(f"'{where}' is damaged: the version of column '{name}' must have 'by' and 'digest'.")
        _check_inner(found, where)
        return cls(**found)


def _check_inner(found: Mapping[str, Any], where: Any) -> None:
    """Check what lies within the mappings of a record, and its times."""
    for holder, inner in (*_NEEDED.items(), *_KNOWN.items()):
        for name, kind in inner.items():
            flat = {f"{holder}.{name}": found[holder][name]} if name in found[holder] else {}
            if flat or holder in _NEEDED:
                checked(flat, f"{holder}.{name}", kind, where=where)
    device = found["computer"]["device"]
    try:
        torch.device(device)
    except RuntimeError as error:
        words = f"'{where}' is damaged: 'computer.device' must be a device of torch; got {device!r}."
        raise RunFileError(words) from error
    for name in ("started", "ended") if found["ended"] else ("started",):
        if not _is_time(found[name]):
            raise RunFileError(
                f"'{where}' is damaged: '{name}' must be a time in UTC as in '{now()}'; got {found[name]!r}."
            )


def _is_time(text: str) -> bool:
    """Return whether text is what `now` returned once."""
    try:
        told = datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return told.tzinfo == datetime.UTC and told.isoformat(timespec="milliseconds") == text


def new_id() -> str:
    """Return a name for a run, unique, and later ones sort later.

    Examples
    --------
    >>> len(new_id())
    22
    """
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def outcome(training: Training) -> dict[str, Any]:
    """Return what a training says beside its model, settings and figures."""
    apart = ("model", "settings", "loss", "steps", "checks")
    said = {f.name: to_plain(getattr(training, f.name)) for f in fields(training) if f.name not in apart}
    return {**said, "selection": training.selection}


def now() -> str:
    """Return the time in UTC, in ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
