"""What the commands read and write: a trace with settings, in any format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workloads.checking import require_countable
from workloads.errors import InputError
from workloads.shown import nearest

if TYPE_CHECKING:
    from workloads.base import Workload
    from workloads.trace import Trace

TraceFile = Annotated[Path, typer.Argument(metavar="FILE", help="A trace, or a folder of its files.")]
OutFile = Annotated[Path, typer.Argument(metavar="OUT", help="Where to write.")]
FormatName = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="By default found from the file.")
]
Target = Annotated[
    str, typer.Option("--to", metavar="NAME", help="parquet (the project's own), mooncake or tokens.")
]
BlockSize = Annotated[
    int | None, typer.Option("--block-size", metavar="N", min=1, help="Tokens of a block (mooncake).")
]
Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the format; may be repeated."),
]
SkipLines = Annotated[
    int, typer.Option("--skip-bad-lines", metavar="N", min=0, help="Pass over so many bad lines.")
]


def load(file: Path, format_name: str | None, settings: list[str], skip_bad_lines: int) -> Trace:
    """The trace of a file with the settings of the command line."""
    from workloads.documents import assign
    from workloads.registry import TraceWorkload

    config: dict[str, Any] = {"kind": "trace", "path": str(file), "format": format_name or "guess"}
    for setting in settings:
        assign(config, setting)
    if skip_bad_lines:
        config["skip_bad_lines"] = skip_bad_lines
    trace = validated(TraceWorkload, config).build(0, Path.cwd())
    require_countable(trace)
    return trace


def validated(kind: Any, config: dict[str, Any]) -> Workload:
    """The workload that ``config`` describes; InputError names the key."""
    from pydantic import TypeAdapter, ValidationError

    from workloads.in_words import first_problem

    try:
        workload: Workload = TypeAdapter[Any](kind).validate_python(config)
    except ValidationError as error:
        raise InputError(first_problem(error, config)) from None
    return workload


def write_trace(trace: Trace, out: Path, to: str, block_size: int | None) -> None:
    """Write ``trace`` in the format ``to``, and say what a reader has to know of it."""
    from workloads.staging import beside
    from workloads.writing import WRITERS

    if to not in WRITERS:
        raise InputError(f"--to {to}: {nearest(to, list(WRITERS))}")
    with beside(out) as place:
        said = WRITERS[to](trace, place / out.name, block_size)
    typer.echo(f"{out}: {len(trace):,} requests as {to}")
    for note in [*trace.notes, *said]:
        typer.echo(f"- {note}")
