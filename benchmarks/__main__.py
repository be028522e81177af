"""``python -m benchmarks``: measure what is not on record, print the table, state the time it took."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from . import front, images, importing, laziness, memory, micro, nearest, relaunch, sample, storing, tables
from .figures import CELLS, FULL, TINY, Scale
from .records import Record, Records, versions
from .report import as_table

__all__ = ["main", "run_cells"]

# Imported for the cells that they register; shown in this order.
_MODULES = (images, laziness, tables, micro, nearest, storing, memory, importing, relaunch, front)
_NAMES = [name for module in _MODULES for name in CELLS if CELLS[name].run.__module__ == module.__name__]


def run_cells(names: Sequence[str], scale: Scale, records: Records, *, quiet: bool = False) -> list[Record]:
    """Return the records of cells, measuring those that are not kept."""
    done: list[Record] = []
    for name in names:
        record = records.get(name, scale.name)
        if record is None:
            if not quiet:
                print(f"{name} ...", file=sys.stderr, flush=True)
            begin = time.perf_counter()
            figures = list(CELLS[name].run(scale))
            record = Record.now(name, scale.name, figures, time.perf_counter() - begin)
            records.keep(record)
        elif not quiet:
            print(f"{name}: kept from {record.when}; --fresh measures again", file=sys.stderr)
        done.append(record)
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", metavar="NAME", action="append", help=f"cells whose name contains it: {', '.join(_NAMES)}"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures there")
    parser.add_argument("--fresh", action="store_true", help="measure again what is on record")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that the code runs")
    asked = parser.parse_args(arguments)
    scale = TINY if asked.tiny else FULL
    names = [name for name in _NAMES if not asked.only or any(part in name for part in asked.only)]
    if not names:
        parser.error(f"no cell is called {asked.only}; there are {', '.join(_NAMES)}")
    records = Records(sample.DATA / "records.json")
    if asked.fresh:
        for name in names:
            records.kept.pop(f"{name}@{scale.name}", None)
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)  # DataLoader's own workers
    begin = time.perf_counter()
    done = run_cells(names, scale, records)
    seconds = time.perf_counter() - begin
    print(as_table(done))
    total = sum(record.seconds for record in done)
    print(f"\nTime: {seconds:.0f} s now, {total:.0f} s for all cells shown. {versions()}")
    if asked.json:
        content = {"seconds": seconds, "versions": versions(), "cells": [record.as_dict() for record in done]}
        asked.json.write_text(json.dumps(content, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
