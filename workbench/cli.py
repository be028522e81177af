"""Thin commands over the functions of the package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .directory import Workbench

__all__ = ["main"]

Directory = Annotated[Path, typer.Argument(help="Directory of a workbench.", metavar="DIR")]
Trust = Annotated[
    list[str] | None,
    typer.Option(help="Package of your own that its networks come from: it is imported. May be said several times."),
]

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _workbench() -> None:
    """Look at a model's data and reasons, say what must not matter, relaunch, and compare."""


@app.command()
def demo(
    data: Annotated[str, typer.Option(help="digits, mnist or fashion-mnist.")] = "digits",
    root: Annotated[Path | None, typer.Option(help="Directory of the IDX files (mnist, fashion-mnist).")] = None,
    seed: Annotated[int, typer.Option(help="Draws everything that is drawn.")] = 0,
    report: Annotated[Path, typer.Option(help="Where to write the report, one HTML page.")] = Path("demo-report.html"),
    json: Annotated[Path | None, typer.Option(help="Where to write the figures.")] = None,
    keep: Annotated[Path | None, typer.Option(help="New directory to keep it all in: panel, strokes, runs.")] = None,
) -> None:
    """Fool a small net, see that it is right for the wrong reason, say so, relaunch, and compare."""
    from .demo import run_demo

    _check_writable(report, json)
    run_demo(data, root=root, seed=seed, keep=keep, report=report, json_file=json, say=typer.echo)


@app.command()
def status(directory: Directory) -> None:
    """Tell what a workbench holds."""
    typer.echo(str(_opened(directory).status()))


@app.command()
def runs(directory: Directory) -> None:
    """List the runs of a workbench, in the order of time."""
    typer.echo(str(_opened(directory).runs))


@app.command()
def compare(
    directory: Directory,
    before: Annotated[str, typer.Argument(help="Name of a model, or name or id of a run.")],
    after: Annotated[str, typer.Argument(help="Likewise.")],
    rows: Annotated[str | None, typer.Option(help="Which rows: \"split == 'test'\". Else all not trained on.")] = None,
    slices: Annotated[str | None, typer.Option(help="Column: one slice for each of its values.")] = None,
    irrelevant: Annotated[str | None, typer.Option(help="Column of masks of what must not matter.")] = None,
    source: Annotated[str | None, typer.Option(help="Column that copies of one original share.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page with pictures here.")] = None,
    trust: Trust = None,
) -> None:
    """Compare two models of a workbench on rows that neither was trained on."""
    _check_writable(report)
    found = _opened(directory, trust).compare(before, after, rows, slices=slices, irrelevant=irrelevant, source=source)
    typer.echo(found)
    if report is not None:
        typer.echo(f"The report: {found.report(report)}")


@app.command()
def replay(
    directory: Directory, run: Annotated[str, typer.Argument(help="Name or id of a run.")], trust: Trust = None
) -> None:
    """Do a run again, and tell whether its weights come out the same."""
    found = _opened(directory, trust).replay(run)
    typer.echo(found)
    if not found.identical:
        raise typer.Exit(1)


def _check_writable(*files: Path | None) -> None:
    """Raise if a file cannot be written where somebody wants it: before the minutes that it takes to know what to."""
    from .errors import DataError

    for file in files:
        if file is not None and file.is_dir():
            raise DataError(f"'{file}' is a directory; name a file in it.")
        if file is not None and not file.absolute().parent.is_dir():
            raise DataError(
                f"There is no directory '{file.absolute().parent}' to write '{file.name}' in; make it first."
            )


def _opened(directory: Path, trust: list[str] | None = None) -> Workbench:
    """Return a workbench that is there; commands make none."""
    from .directory import MARK, Workbench
    from .errors import RunFileError

    if not (directory / MARK).exists():
        raise RunFileError(f"There is no workbench in '{directory}'; wb.Workbench.open(directory) makes one.")
    return Workbench.open(directory, trust=trust or ())


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
