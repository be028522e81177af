"""What a training ran on: code, packages, computer."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..classifier import Classifier

__all__ = ["code_version", "computer", "package_versions", "same_computing"]

DISTRIBUTION = "rationale-workbench"
OURS = ("columns", "explain", "workbench")
# Of what a number can depend on; the others are there for everybody to see with pip.
PACKAGES = (
    "torch",
    "numpy",
    "pyarrow",
    "pandas",
    "pillow",
    "scikit-learn",
    "captum",
    "safetensors",
    "peft",
    "simplejpeg",
)


@cache
def code_version() -> dict[str, str]:
    """Return the version of this distribution, and a digest of the sources of its three packages.

    Returns
    -------
    dict of str to str
        "distribution", "digest"; as found when first asked for in this process.

    Examples
    --------
    >>> sorted(code_version())
    ['digest', 'distribution']
    """
    h = hashlib.blake2b(digest_size=16)
    for name in OURS:
        root = Path(str(import_module(name).__file__)).parent
        for path in sorted(root.rglob("*.py")):
            h.update(f"{name}/{path.relative_to(root).as_posix()}\x1f".encode())
            h.update(hashlib.blake2b(path.read_bytes(), digest_size=16).digest())
    return {"distribution": _version(DISTRIBUTION), "digest": h.hexdigest()}


@cache
def package_versions() -> Mapping[str, str]:
    """Return the versions of Python and of the packages that numbers can depend on, if they are there."""
    found = {name: _version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **{name: version for name, version in found.items() if version}}


def computer(classifier: Classifier) -> dict[str, Any]:
    """Return on what a classifier would be trained now.

    Parameters
    ----------
    classifier : Classifier
        Says where, by its weights.

    Returns
    -------
    dict
        "device", its name, "processor", "threads", and the switches of torch that change the last bits.
    """
    weight = next(classifier.module.parameters(), None)
    device = torch.device("cpu") if weight is None else weight.device
    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "",
        "processor": _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
    }


@contextmanager
def same_computing(facts: Mapping[str, Any]) -> Iterator[None]:
    """Let torch use as many threads as a computer of before did, and put the number back.

    Sums are split among threads, so that their number changes the last bits.

    Examples
    --------
    >>> before = torch.get_num_threads()
    >>> with same_computing({"threads": 1}):
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    threads, before = facts.get("threads"), torch.get_num_threads()
    if isinstance(threads, int) and 1 <= threads <= 4096 and threads != before:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


@cache
def _processor() -> str:
    """Return the name of the processor as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or os.environ.get("PROCESSOR_IDENTIFIER", "") or platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
