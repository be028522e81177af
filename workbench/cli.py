"""Thin commands over the functions of the package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

__all__ = ["main"]

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.callback()
def _workbench() -> None:
    """Look at a model's data and reasons, say what must not matter, relaunch, and compare."""


@app.command()
def demo(
    data: Annotated[str, typer.Option(help="digits, mnist or fashion-mnist.")] = "digits",
    root: Annotated[Optional[Path], typer.Option(help="Directory of the IDX files (mnist, fashion-mnist).")] = None,  # noqa: UP045 - typer reads it
    seed: Annotated[int, typer.Option(help="Draws everything that is drawn.")] = 0,
    report: Annotated[Path, typer.Option(help="Where to write the report, one HTML page.")] = Path("demo-report.html"),
    json: Annotated[Optional[Path], typer.Option(help="Where to write the figures.")] = None,  # noqa: UP045
) -> None:
    """Fool a small net, see that it is right for the wrong reason, say so, relaunch, and compare."""
    from .demo import run_demo

    run_demo(data, root=root, seed=seed, report=report, json_file=json, say=typer.echo)


def main() -> None:
    """Run the command line; our own errors are told in words, without a traceback."""
    from columns import ColumnError
    from explain import ExplainError

    from .errors import WorkbenchError

    try:
        app()
    except (WorkbenchError, ColumnError, ExplainError) as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
