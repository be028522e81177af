"""IDX files, the format of MNIST: read with their shapes checked, gzipped or not."""

import gzip
import struct
import zlib
from math import prod
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

__all__ = ["read_idx", "read_idx_split"]

PREFIXES = {"train": "train", "test": "t10k"}

UNSIGNED_BYTE = 0x08

# A broken header can promise anything: more than this is refused before any memory is taken.
LARGEST = 2**32


def read_idx_split(directory: str | Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the images and labels of one split from a directory of IDX files.

    Parameters
    ----------
    directory : str or Path
        Holds the four files of MNIST or Fashion-MNIST, each as is or with ``.gz``.
    split : {"train", "test"}
        Which pair of files.

    Returns
    -------
    images : ndarray, shape (rows, height, width), uint8
        Grey values, 0..255.
    labels : ndarray, shape (rows,), uint8
        Class numbers.

    Raises
    ------
    DataError
        If the directory or a file is missing, a file is broken, or images and labels differ in
        number.

    Examples
    --------
    >>> read_idx_split("no/such/directory", "train")
    Traceback (most recent call last):
    workbench.errors.DataError: IDX files must lie in a directory; 'no/such/directory' is not one. ...
    """
    if split not in PREFIXES:
        raise DataError(f"`split` must be one of {', '.join(PREFIXES)}; got {split!r}.")
    folder = Path(directory)
    if not folder.is_dir():
        raise DataError(
            f"IDX files must lie in a directory; '{folder}' is not one. Download the four files of MNIST or "
            "Fashion-MNIST into it, or give the directory that holds them."
        )
    images_path = _find(folder, f"{PREFIXES[split]}-images", "idx3-ubyte")
    labels_path = _find(folder, f"{PREFIXES[split]}-labels", "idx1-ubyte")
    images, labels = read_idx(images_path, axes=3), read_idx(labels_path, axes=1)
    if len(images) != len(labels):
        raise DataError(
            f"Images and labels must be equally many; '{images_path.name}' has {len(images)} and "
            f"'{labels_path.name}' {len(labels)}, in '{folder}'. They are of different data: fetch both."
        )
    return images, labels


def read_idx(path: str | Path, axes: int | None = None) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes.

    The header is two zero bytes, the type (8 for unsigned bytes), the number of axes, and the
    length of each axis as a big-endian 32-bit integer; then the values, last axis fastest.

    Parameters
    ----------
    path : str or Path
        The file; gzipped if its name ends in ``.gz``.
    axes : int or None
        How many axes it must have; None takes any.

    Returns
    -------
    ndarray, uint8
        Of the shape that the header gives.

    Raises
    ------
    DataError
        If the file is missing, is not IDX of unsigned bytes, has other axes, or holds less or more
        than its header says.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "two.idx"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    ...     read_idx(path)
    array([7, 9], dtype=uint8)
    """
    path = Path(path)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            return _read(file, path, axes)
    except FileNotFoundError as error:
        raise DataError(f"No file '{path}'.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"'{path}' cannot be read: {error}. Download it again.") from error


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _read(file: _Readable, path: Path, axes: int | None) -> NDArray[np.uint8]:
    """Read header and values from an open file; `path` is for messages."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(
            f"An IDX file must begin with two zero bytes, a type and a number of axes; '{path}' begins with "
            f"{magic.hex(' ') or 'nothing'}. Is it another format, or compressed without '.gz' in its name?"
        )
    if magic[2] != UNSIGNED_BYTE:
        raise DataError(f"'{path}' must hold unsigned bytes (type 8); its type is {magic[2]}.")
    if axes is not None and magic[3] != axes:
        raise DataError(f"'{path}' must have {axes} axes; it has {magic[3]}. Are images and labels mixed up?")
    lengths = file.read(4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise DataError(f"'{path}' ends within its header. Download it again.")
    shape = struct.unpack(f">{magic[3]}I", lengths)
    size = prod(shape)
    if size > LARGEST:
        raise DataError(f"'{path}' says that it holds {size} bytes, shape {shape}; that is not credible.")
    # One byte more than promised shows a file that is too long, without reading all of it.
    values = file.read(size + 1)
    if len(values) != size:
        found = f"{len(values)}" if len(values) < size else "more"
        raise DataError(f"'{path}' must hold {size} bytes for its shape {shape}; it holds {found}. Download it again.")
    # A copy, because an array over bytes cannot be written to, and torch warns about that.
    return np.frombuffer(values, dtype=np.uint8).reshape(shape).copy()


def _find(folder: Path, stem: str, kind: str) -> Path:
    """Find a file under any of its usual names."""
    names = [f"{stem}{dot}{kind}{packed}" for packed in (".gz", "") for dot in ("-", ".")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"'{folder}' must hold one of {', '.join(names)}; it holds none of them. Download the four files of "
        "MNIST or Fashion-MNIST into it, or give the directory that holds them."
    )
