"""Models by name and runs by id, in the directories of a workbench."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import ItemsView, Iterator, Mapping, MutableMapping, ValuesView
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from .classifier import Classifier, as_classifier
from .errors import NotHereError, RunError
from .runs import Run, open_runs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Models", "Runs"]

_NAME = re.compile(r"[\w][\w .+-]{0,80}")


class Models(MutableMapping[str, Classifier]):
    """Classifiers by name: a directory each, in which every version is a directory that never changes.

    Parameters
    ----------
    path : Path
        Of all of them; made when the first is put there.
    **how
        For opening them; see `Classifier.open`.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> models = Models(Path(tempfile.mkdtemp()))
    >>> models["first"] = Classifier(torch.nn.Linear(2, 2), classes=["a", "b"], on="x")
    >>> list(models), models["first"].classes
    (['first'], ('a', 'b'))
    """

    def __init__(self, path: Path, **how: Any) -> None:
        self.path, self._how = path, how

    def __getitem__(self, name: str) -> Classifier:
        versions = self._versions(name)
        if not versions:
            raise self._lost(name)
        return Classifier.open(versions[-1], **self._how)

    def __setitem__(self, name: str, model: Classifier) -> None:
        model = as_classifier(model)
        if not _NAME.fullmatch(name):
            raise RunError(f"A model's name is made of letters, digits, spaces and . _ + -; got {name!r}.")
        home = self.path / name
        home.mkdir(parents=True, exist_ok=True)
        draft = home / f".{secrets.token_hex(6)}"
        try:
            model.save(draft)
            while True:
                newest = self._versions(name)
                number = int(newest[-1].name) + 1 if newest else 1
                try:
                    draft.rename(home / str(number))
                    break
                except OSError:
                    if not (home / str(number)).exists():
                        raise
                    # Another process took the number; the next one is free.
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise self._lost(name)
        gone = self.path / f".{secrets.token_hex(6)}"
        (self.path / name).rename(gone)
        shutil.rmtree(gone)

    def __iter__(self) -> Iterator[str]:
        names = os.listdir(self.path) if self.path.is_dir() else []
        return iter(sorted(name for name in names if self._versions(name)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._versions(name))

    def _versions(self, name: str) -> list[Path]:
        home = self.path / name
        if not _NAME.fullmatch(name) or not home.is_dir():
            return []
        return sorted((path for path in home.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))

    def _lost(self, name: str) -> NotHereError:
        return NotHereError(f"No model '{name}' here; there are: {', '.join(self) or 'none yet'}.")

    def __repr__(self) -> str:
        return f"Models({', '.join(self) or 'none yet'})"


class Runs(Mapping[str, Run]):
    """The runs of a workbench, in the order of time: found by id, by name (the last of that name), or by place.

    Parameters
    ----------
    path : Path
        The directory of runs.
    **how
        For opening their models; see `Run.open`.
    """

    def __init__(self, path: Path, **how: Any) -> None:
        self.path, self._how = path, how

    def all(self) -> list[Run]:
        """Return every run, the newest last, as they are at this moment; damaged ones are left out, with a warning."""
        return open_runs(self.path, figures=True, **self._how)

    @overload
    def __getitem__(self, which: str | int) -> Run: ...
    @overload
    def __getitem__(self, which: slice) -> list[Run]: ...
    def __getitem__(self, which: str | int | slice) -> Run | list[Run]:
        runs = self.all()
        if isinstance(which, slice):
            return runs[which]
        if isinstance(which, int):
            if not -len(runs) <= which < len(runs):
                raise IndexError(f"Place must lie in [0, {len(runs)}), there are {len(runs)} runs; got {which}.")
            return runs[which]
        found = [run for run in runs if which in (run.id, run.name)]
        if not found:
            raise self.lost(which)
        return found[-1]

    def __contains__(self, which: object) -> bool:
        return bool(which) and any(which in (run.id, run.name) for run in self.all())

    def __iter__(self) -> Iterator[str]:
        return iter([run.id for run in self.all()])

    def __len__(self) -> int:
        return len(self.all())

    # Those of a mapping would open all runs for each of them.

    def values(self) -> ValuesView[Run]:
        """Return the runs, as they are at this moment."""
        return {run.id: run for run in self.all()}.values()

    def items(self) -> ItemsView[str, Run]:
        """Return ids and runs, as they are at this moment."""
        return {run.id: run for run in self.all()}.items()

    def lost(self, name: str, also: list[str] | None = None) -> NotHereError:
        """Return the error of a name that nothing has, with the nearest."""
        known = [*(also or []), *(word for run in self.all() for word in (run.name, run.id) if word)]
        near = get_close_matches(name, known, n=1)
        guess = f"; did you mean '{near[0]}'?" if near else "."
        there = ", ".join(known) or "no models and no runs"
        return NotHereError(f"Nothing here is called '{name}'{guess} There are: {there}.")

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with a row for each run; ``validation`` is the accuracy there of the state kept."""
        import pandas as pd

        runs = self.all()
        names = {run.id: run.name or run.id for run in runs}
        rows = [
            {
                "id": run.id, "name": run.name, "kind": run.kind, "status": run.status,
                "started": pd.Timestamp(run.record.started).floor("s"), "seconds": round(run.seconds, 1),
                "steps": len(run.steps), "kept": run.kept_step,
                "validation": {check.step: check.accuracy for check in run.checks}.get(run.kept_step),
                "from": names.get(run.parent or "", run.parent or ""),
            }
            for run in runs
        ]  # fmt: skip
        columns = ["id", "name", "kind", "status", "started", "seconds", "steps", "kept", "validation", "from"]
        return pd.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        table = self.to_pandas()
        return (
            "Runs(none yet)"
            if table.empty
            else str(table.to_string(index=False, na_rep="", float_format="{:.3f}".format))
        )

    def _repr_html_(self) -> str:
        return str(self.to_pandas().to_html(index=False))
