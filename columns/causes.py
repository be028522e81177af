"""Why a row failed, kept without the memory that its traceback would hold on to."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .expression import Node

__all__ = ["Cause", "forget_frames"]

_HERE = str(Path(__file__).parent)


@dataclass(frozen=True)
class Cause:
    """Why a row failed.

    Attributes
    ----------
    error : BaseException
        What was raised.
    node : Node
        The source that could not read it, or the map whose function raised.
    row : int
        Its number in the rows of `node`.
    told : bool
        Whether somebody was told before, and went on without the row: it is null since then.
    """

    error: BaseException
    node: Node
    row: int
    told: bool = False


def forget_frames(error: BaseException) -> None:
    """Let go of what the frames of an exception hold, whole batches for instance; its lines stay.

    For errors that are kept: of ours the frames are left out, of the user's function the variables.
    """
    seen: set[int] = set()
    stack: list[BaseException | None] = [error]
    while stack:
        one = stack.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        trace = one.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
            trace = trace.tb_next
        traceback.clear_frames(trace)
        one.__traceback__ = trace
        stack += [one.__cause__, one.__context__]
