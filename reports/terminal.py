"""What command lines show at a terminal: progress bars and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, ProgressColumn


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


def show_json(content: object) -> None:
    """``content`` on stdout, for another program."""
    import json

    typer.echo(json.dumps(content, indent=1, allow_nan=False))


@contextmanager
def parts(quiet: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """A progress bar on stderr for the part of the work under way; nothing without a terminal."""
    from rich.progress import TimeElapsedColumn

    with _bar(quiet, TimeElapsedColumn()) as bars:
        task = bars.add_task("", total=None)

        def tell(part: str, done: int, total: int | None) -> None:
            nonlocal task
            if part != bars.tasks[0].description:
                bars.remove_task(task)
                task = bars.add_task(part, total=total)
            bars.update(task, completed=done)

        yield tell


@contextmanager
def time_left(quiet: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """One progress bar on stderr with the time that is left; nothing without a terminal."""
    from rich.progress import TimeRemainingColumn

    with _bar(quiet, TimeRemainingColumn()) as bars:
        task = bars.add_task("", total=None)

        def tell(part: str, done: int, total: int | None) -> None:
            bars.update(task, description=part, completed=done, total=total)

        yield tell


def _bar(quiet: bool, time: ProgressColumn) -> Progress:
    """On one line, whatever is told: a long description is cut, as the terminal is wide."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    described = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    shown = console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=described),
        BarColumn(bar_width=max(5, shown.width // 5)), MofNCompleteColumn(), time,
        console=shown, disable=quiet or not shown.is_terminal, transient=True, expand=True,
        refresh_per_second=4, speed_estimate_period=120,
    )  # fmt: skip
