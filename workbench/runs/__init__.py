"""Runs: a training with its record and its model, on disk or in memory, that opens after a crash and can be replayed.

`begin_run` records a training while it runs; `Run` is what comes of it; `open_runs` lists those of a directory.
Nothing here is a pickle, and no module is imported because a file names it.
"""

from .recording import Recording, begin_run
from .replay import Replay
from .run import DamagedRunWarning, Run, open_runs

__all__ = ["DamagedRunWarning", "Recording", "Replay", "Run", "begin_run", "open_runs"]
