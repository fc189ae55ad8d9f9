"""What command lines show at a terminal: progress bars and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


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
def time_left(quiet: bool) -> Iterator[Callable[[str, int, int | None], None]]:
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

        def tell(part: str, done: int, total: int | None) -> None:
            bars.update(task, description=part, completed=done, total=total)

        yield tell
