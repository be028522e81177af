"""Saving: new files are drafts until one rename makes them a version.

What a crash leaves behind is drafts, which nobody reads and the next save removes. The order is what counts:
every column file is on the disk before the manifest that names it, and the old manifest stays until the new one
takes its place.
"""

from __future__ import annotations

import datetime
import errno
import os
import re
import shutil
import unicodedata
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .errors import StoreError
from .manifest import COLUMNS, CURRENT, EARLIER, Entry, FileRecord, Manifest, Stored, read_manifest

__all__ = ["Draft", "Saving"]

_PIECE = 16 << 20
_NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_DRAFT = ".draft-"
_OURS = re.compile(r".+-[0-9a-f]{32}\.(npy|arrow|valid\.npy)")
_LOCK = ".lock"


class Draft:
    """A file under a temporary name; Arrow and NumPy write into it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / f"{_DRAFT}{uuid.uuid4().hex}"
        self.size = 0
        self.expected = 0  # bytes it will have, as far as its writer can tell
        self._file = open(self.path, "xb")  # noqa: SIM115 - closed by `finish` or `discard`

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._file.closed

    def write(self, data: Any) -> int:
        """Append bytes."""
        view = memoryview(data).cast("B") if memoryview(data).nbytes else memoryview(b"")
        for start in range(0, len(view), _PIECE):
            self.size += self._file.write(view[start : start + _PIECE])
        return len(view)

    def flush(self) -> None:
        """Hand what is held back to the system."""
        self._file.flush()

    def close(self) -> None:
        """Leave the file open: Arrow closes what it writes to, and the draft is not yet on the disk."""

    def finish(self) -> None:
        """Bring the content to the disk, and close the file."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        """Remove the file; does nothing once it has its final name."""
        with suppress(OSError):  # a full disk does not take what is still held back, and need not
            self._file.close()
        self.path.unlink(missing_ok=True)


class Saving:
    """One save into a panel's directory; a context manager that holds its lock.

    Parameters
    ----------
    root : Path
        The directory; made if it is not there.
    timeout : float
        Seconds to wait for another save to end.

    Raises
    ------
    StoreError
        If another save does not end in time, the newest manifest cannot be read, or the disk is full. In each
        case the version before stays as it was.
    """

    def __init__(self, root: Path, timeout: float = 60.0) -> None:
        self.root = root
        self.timeout = timeout
        self.current: Manifest | None = None
        from filelock import FileLock  # here, since who only reads panels need not pay for its import

        self._lock = FileLock(str(root / _LOCK))
        self._drafts: list[Draft] = []
        self._kept: list[tuple[Draft, Path]] = []
        self._known: dict[str, int] = {}

    def __enter__(self) -> Self:
        from filelock import Timeout

        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"A panel is saved to a directory; '{self.root}' is a file.")
        made = not self.root.exists()
        for directory in (self.root, self.root / COLUMNS, self.root / EARLIER):
            directory.mkdir(parents=True, exist_ok=True)
        if made:
            _sync_directory(self.root.parent)
        try:
            self._lock.acquire(timeout=self.timeout)
        except Timeout as error:
            raise StoreError(
                f"Another save to '{self.root}' did not end within {self.timeout:g} seconds; save again when it has, "
                "or wait longer with `timeout=`."
            ) from error
        try:
            self.current = self._newest()
            self._sweep()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                needed = sum(max(d.expected, d.size) for d in self._drafts)
                for draft in self._drafts:
                    draft.discard()
                self._sweep()
                if isinstance(error, OSError) and error.errno in _NO_SPACE:
                    raise self._no_space(needed, error) from error
        finally:
            self._lock.release()

    def draft(self) -> Draft:
        """Return a new file to write to."""
        draft = Draft(self.root / COLUMNS)
        self._drafts.append(draft)
        return draft

    def drop(self, draft: Draft) -> None:
        """Forget a draft that another one replaces."""
        draft.discard()
        self._drafts.remove(draft)

    def keep(self, draft: Draft, column: str, digest: str, suffix: str) -> FileRecord:
        """Let a finished draft become a file of the next version; the same content is kept once.

        Parameters
        ----------
        draft : Draft
            All written.
        column : str
            The column's name, of which the file's name keeps what is safe anywhere.
        digest : str
            Hash of the content.
        suffix : str
            ``"npy"``, ``"valid.npy"`` or ``"arrow"``.
        """
        name = f"{COLUMNS}/{_safe(column)}-{digest}.{suffix}"
        if self._known.get(name) == draft.size == _size(self.root / name):
            self.drop(draft)
        else:
            draft.finish()
            self._kept.append((draft, self.root / name))
        return FileRecord(name, draft.size)

    def has(self, stored: Stored) -> bool:
        """Say whether some version of this directory holds these rows already."""
        return all(self._known.get(record.name) == record.size for record in stored.files())

    def commit(self, rows: int, columns: tuple[Entry, ...], keys: str | Stored) -> int:
        """Make everything kept, and what was there, a version; return its number."""
        version = 1 if self.current is None else self.current.version + 1
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        manifest = Manifest(version, rows, now, columns, keys)
        for draft, target in self._kept:
            os.replace(draft.path, target)
        _sync_directory(self.root / COLUMNS)
        if self.current is not None:
            self._place((self.root / CURRENT).read_bytes(), self.root / EARLIER / f"{self.current.version}.json")
        self._place(manifest.to_json().encode(), self.root / CURRENT)
        return version

    def _place(self, content: bytes, target: Path) -> None:
        """Write a manifest in one step: it is there in full, or what was there before is."""
        draft = self.draft()
        draft.write(content)
        draft.finish()
        os.replace(draft.path, target)
        _sync_directory(target.parent)

    def _newest(self) -> Manifest | None:
        earlier = sorted((self.root / EARLIER).glob("*.json"))
        if not (self.root / CURRENT).exists() and not earlier:
            return None
        try:
            return read_manifest(self.root)
        except StoreError as error:
            raise StoreError(f"Cannot save a new version over one that cannot be read. {error}") from error

    def _sweep(self) -> None:
        """Remove what crashed saves left: drafts, and column files that no version names."""
        for draft in (self.root / COLUMNS).glob(f"{_DRAFT}*"):
            draft.unlink(missing_ok=True)
        try:
            manifests = [self._read(path) for path in sorted((self.root / EARLIER).glob("*.json"))]
            if (self.root / CURRENT).exists():
                manifests.append(self._read(self.root / CURRENT))
        except (OSError, ValueError, RecursionError):
            return  # a version that cannot be read may still need any of the files
        self._known = {record.name: record.size for m in manifests for record in m.files()}
        for path in (self.root / COLUMNS).iterdir():
            if f"{COLUMNS}/{path.name}" not in self._known and _OURS.fullmatch(path.name):
                path.unlink(missing_ok=True)

    @staticmethod
    def _read(path: Path) -> Manifest:
        return Manifest.from_json(path.read_bytes())

    def _no_space(self, needed: int, error: OSError) -> StoreError:
        free = shutil.disk_usage(self.root).free
        before = "nothing was there before" if self.current is None else f"version {self.current.version} is as it was"
        result = StoreError(
            f"No space to save to '{self.root}' ({error.strerror or error}): about {needed:,} bytes are needed, "
            f"{free:,} are free; {before}. Free some space, or save elsewhere."
        )
        result.errno = error.errno
        return result


def _safe(name: str) -> str:
    """Return what any file system takes of a column's name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")[:40] or "column"


def _size(path: Path) -> int:
    """Return the size of a file, -1 if it is not there: one that was damaged is written again."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _sync_directory(path: Path) -> None:
    """Bring the names in a directory to the disk; without it, a rename may be forgotten in a power cut."""
    if os.name == "nt":  # directories cannot be opened there, and renames are logged
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
