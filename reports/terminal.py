"""What both command lines do at a terminal: progress bars, tables, and how they end."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from workloads.errors import InputError
from workloads.shown import plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def call(app: typer.Typer, name: str, arguments: list[str] | None) -> None:
    """Run ``app``: bad input is one message on stderr and exit code 2, never a traceback.

    ``arguments`` default to those of the process. Ends by SystemExit, as command lines do; a signal to end
    (SIGTERM) ends it like Ctrl-C, with what was begun taken back, and exit code 143.
    """
    os.environ["MPLBACKEND"] = "agg"  # no window is ever opened; matplotlib fails on a backend it lacks
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot write it, cp1252 say
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, _terminated)
    try:
        app(arguments, prog_name=name)
    except MemoryError:
        _refuse("not enough memory; make the workload smaller")
    except (InputError, OSError) as error:  # OSError: nowhere to print to, say
        _refuse(str(error))


def _terminated(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _refuse(message: str) -> None:
    typer.echo(f"error: {plain(message)}", err=True)
    sys.exit(2)


def width() -> int:
    """Columns of the terminal; 80 where there is none."""
    return console().width


def console(*, stderr: bool = False) -> Console:
    """A terminal that shows every text as it is: brackets, colons and numbers mean nothing."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def show(table: RenderableType, paths: Iterable[Path] = ()) -> None:
    """A table on stdout, and where the files are that go with it."""
    console().print(table)
    for path in paths:
        typer.echo(f"Written: {path}")


@contextmanager
def parts(quiet: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """Progress bars on stderr, one per part of the work; nothing without a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    named = TextColumn("{task.description}", markup=False)
    shown = console(stderr=True)
    with Progress(
        named, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=shown, disable=quiet or not shown.is_terminal, transient=True,
    ) as bars:  # fmt: skip
        tasks = {}

        def tell(part: str, done: int, total: int | None) -> None:
            if part not in tasks:
                tasks[part] = bars.add_task(part, total=total)
            bars.update(tasks[part], completed=done)

        yield tell


@contextmanager
def time_left(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """One progress bar on stderr with the time that is left; nothing without a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    named = TextColumn("{task.description}", markup=False)
    shown = console(stderr=True)
    with Progress(
        named, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=shown, disable=quiet or not shown.is_terminal, transient=True,
        refresh_per_second=2, speed_estimate_period=120,
    ) as bars:  # fmt: skip
        task = bars.add_task("", total=None)

        def tell(part: str, done: int, total: int) -> None:
            bars.update(task, description=part, completed=done, total=total)

        yield tell
