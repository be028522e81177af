"""Weights as safetensors: written, hashed, read, and put back into a module that fits."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import ClassifierError, RunFileError
from .files import DRAFT, inside, replace_file

__all__ = ["fill", "read_weights", "state_digest", "write_weights"]

FORMAT = "1"


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return a hash of weights: of names, dtypes, shapes and every bit.

    Parameters
    ----------
    state : mapping of str to Tensor
        As ``module.state_dict()`` gives it, on any device, in any order and memory layout.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> state_digest(first.state_dict()) == state_digest(second.state_dict())
    False
    >>> second.load_state_dict(first.state_dict())
    <All keys matched successfully>
    >>> state_digest(first.state_dict()) == state_digest(second.state_dict())
    True
    """
    h = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(checked_state(state).items()):
        data = tensor.detach().cpu().contiguous()
        h.update(f"{name}\x1f{data.dtype}\x1f{tuple(data.shape)}\x1e".encode())
        if data.numel():
            h.update(data.reshape(-1).view(torch.uint8).numpy().data)
    return h.hexdigest()


def checked_state(state: Mapping[str, object]) -> dict[str, Tensor]:
    """Return a state of which everything is a tensor with data of its own, or raise ClassifierError."""
    held: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ClassifierError(
                f"A module's state must be tensors; '{name}' is {type(value).__name__}. Modules with an extra state "
                "cannot be saved: keep it in a buffer."
            )
        if value.is_meta or value.is_quantized or value.layout != torch.strided:
            kind = "without data" if value.is_meta else "quantised" if value.is_quantized else str(value.layout)
            raise ClassifierError(f"Weights must be dense tensors; '{name}' is {kind}.")
        held[name] = value
    return held


def write_weights(path: Path, state: Mapping[str, Tensor], **notes: str) -> str:
    """Replace a file of weights in one step, and return their digest.

    Parameters
    ----------
    path : Path
        Ends in ``.safetensors``.
    state : mapping of str to Tensor
        Weights that share their memory, tied ones, are written once.
    **notes
        Kept in the header.

    Returns
    -------
    str
        See `state_digest`.

    Raises
    ------
    ClassifierError
        If the state is not made of dense tensors, or of a dtype that safetensors has not.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    held = checked_state(state)
    digest = state_digest(held)
    tied: dict[str, str] = {}
    seen: dict[tuple[object, ...], str] = {}
    written: dict[str, Tensor] = {}
    for name, tensor in held.items():
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), tensor.device)
        if tensor.numel() and place in seen:
            tied[name] = seen[place]
            continue
        seen[place] = name
        # A copy where memory is shared in part: the file holds whole tensors.
        written[name] = tensor.detach().cpu().contiguous().clone()
    channels_last = [name for name, tensor in held.items() if _is_channels_last(tensor)]
    header = {
        "format": FORMAT,
        "digest": digest,
        "tied": json.dumps(tied),
        "channels_last": json.dumps(channels_last),
        **notes,
    }
    draft = path.with_name(f"{DRAFT}{uuid.uuid4().hex}")
    try:
        save_file(written, draft, metadata=header)
    except (SafetensorError, KeyError, ValueError) as error:
        draft.unlink(missing_ok=True)
        kinds = ", ".join(sorted({str(tensor.dtype) for tensor in written.values()}))
        raise ClassifierError(
            f"Weights of these dtypes cannot be written as safetensors: {kinds} ({error})."
        ) from error
    replace_file(path, draft)
    return digest


def read_weights(root: Path, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of weights, and check it against its digest.

    Parameters
    ----------
    root : Path
        Directory that it must not leave.
    name : str
        Of the file, relative to it.

    Returns
    -------
    state : dict of str to Tensor
        Tied weights under each of their names.
    notes : dict of str to str
        The header: "digest", and what was noted.

    Raises
    ------
    RunFileError
        If it is missing, damaged, of a newer format, or leads outside the directory.
    """
    from safetensors import SafetensorError, safe_open

    path = inside(root, name)
    if not path.is_file():
        raise RunFileError(f"'{root}' holds no '{name}'.")
    try:
        with safe_open(path, framework="pt") as file:
            notes: dict[str, str] = file.metadata() or {}
            # A copy: the file may be replaced while its weights are in use.
            state = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - no mapping
        tied, channels_last = json.loads(notes.get("tied", "{}")), json.loads(notes.get("channels_last", "[]"))
        if notes.get("format") != FORMAT:
            raise RunFileError(
                f"'{path}' has format {notes.get('format')}; this version of the library reads {FORMAT}. "
                "Weights of other programs are loaded by torch, into the module of a classifier."
            )
        for alias, kept in tied.items():
            state[alias] = state[kept]
        for key in channels_last:
            state[key] = state[key].contiguous(memory_format=torch.channels_last)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, RunFileError):
            raise
        raise RunFileError(f"'{path}' is damaged: {error}.") from error
    if state_digest(state) != notes.get("digest"):
        raise RunFileError(f"'{path}' is damaged: its weights are not those that were written.")
    return state, notes


def fill(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put weights into a module: its parameters and buffers take values, precision and memory layout from them.

    Parameters
    ----------
    module : torch.nn.Module
        On any device; parameters that it shares stay shared.
    state : mapping of str to Tensor
        One for each name in ``module.state_dict()``.

    Raises
    ------
    ClassifierError
        If names, shapes or kinds of numbers differ; says which.
    """
    own = checked_state(module.state_dict(keep_vars=True))
    lacking, strange = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if lacking or strange:
        near = get_close_matches(lacking[0], strange, n=1) if lacking and strange else []
        raise ClassifierError(
            f"The weights do not fit this {type(module).__name__}: the file has none for {_some(lacking)}, and the "
            f"module no place for {_some(strange)}{f' (renamed: {near[0]}?)' if near else ''}. Pass the factory that "
            "made the module they are of."
        )
    shared: dict[int, str] = {}
    for name, place in own.items():
        given = state[name]
        first = shared.setdefault(id(place), name)
        if first != name and not _same_bits(given, state[first]):
            raise ClassifierError(
                f"The weights do not fit this {type(module).__name__}: '{name}' and '{first}' are one tensor in the "
                "module and two in the file."
            )
        if place.shape != given.shape:
            raise ClassifierError(
                f"The weights do not fit this {type(module).__name__}: '{name}' has shape {tuple(place.shape)} in the "
                f"module and {tuple(given.shape)} in the file."
            )
        if (place.is_floating_point(), place.is_complex()) != (given.is_floating_point(), given.is_complex()):
            raise ClassifierError(
                f"The weights do not fit this {type(module).__name__}: '{name}' is {place.dtype} in the module and "
                f"{given.dtype} in the file."
            )
    with torch.no_grad():
        for name, place in own.items():
            place.data = state[name].to(place.device, copy=True)


def _same_bits(first: Tensor, second: Tensor) -> bool:
    return state_digest({"": first}) == state_digest({"": second})


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "nothing more"
